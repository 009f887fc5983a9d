"""What a worker gives back between two trials; CUDA is played by a fake, as the tests need no GPU."""

from __future__ import annotations

import gc
import weakref

import torch

from assay.sweeps.tune_worker import free_memory


def test_what_a_trial_leaves_on_a_gpu_is_given_back(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    free_memory()
    assert emptied


def test_what_a_trial_left_is_looked_for_outside_of_the_modules():
    """A collection goes through every object that is not set aside; of PyTorch's there are over 100,000."""

    class Left:
        pass

    free_memory()
    left = Left()
    left.itself = left
    gone = weakref.ref(left)
    del left
    free_memory()
    assert gone() is None
    assert gc.get_freeze_count() > 100_000
