"""What a worker gives back between two trials; CUDA is played by a fake, as the tests need no GPU."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch

from assay.runtime import retry
from assay.sweeps import tune_worker
from assay.sweeps.tune_worker import Worker, free_memory


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


@pytest.mark.parametrize("when", ["begin", "step"])
def test_a_worker_that_lost_its_gpu_ends(when, monkeypatch):
    """Every later trial of the process would fail, as a bug."""

    class EndedError(Exception):
        """The process has ended."""

    def end(code):
        raise EndedError

    def lost(*_):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(retry.os, "_exit", end)
    monkeypatch.setattr(tune_worker, "Trial", lost if when == "begin" else lambda *_: SimpleNamespace(step=lost))
    monkeypatch.setattr(tune_worker, "TrialConfig", lambda **_: None)
    worker = Worker.__new__(Worker)
    with pytest.raises(EndedError):
        (worker.setup({"order": {}}, None, "root"), worker.step())
