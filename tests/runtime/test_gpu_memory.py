"""A process keeps to its share of a GPU's memory and gives it back; CUDA is played by fakes, as no GPU is needed."""

from __future__ import annotations

import pytest
import torch
from slow_work import Note

from assay.audits import fan_out
from assay.runtime import gpu_memory
from assay.sweeps.tune_worker import Worker

GB = 2**30


@pytest.fixture
def fractions(monkeypatch):
    """The limits that were set, on a GPU of 24 GB."""
    found: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (20 * GB, 24 * GB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", found.append)
    return found


def test_a_share_is_a_limit_that_leaves_room_for_the_context(fractions):
    gpu_memory.keep_to(0.25)
    assert fractions == [pytest.approx(0.25 - gpu_memory.CONTEXT_GB / 24)]
    assert 4 * (fractions[0] * 24 + gpu_memory.CONTEXT_GB) <= 24 + 1e-9
    gpu_memory.keep_to(0.01)
    assert fractions[1] > 0, "a share that is smaller than a context leaves something all the same"


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0])
def test_who_has_no_gpu_or_a_whole_one_has_no_limit(share, fractions):
    gpu_memory.keep_to(share)
    assert fractions == []


def test_the_processes_of_audits_and_of_trials_keep_to_their_share(fractions, monkeypatch):
    monkeypatch.setattr(Worker, "begin", lambda self, config: None)
    monkeypatch.setattr(fan_out, "_run", lambda *_: 0.0)
    fan_out._Process(0.5).run(Note(0, device="cuda"), "", "root")
    fan_out._Process(0.5).run(Note(0), "", "root")
    Worker.__new__(Worker).setup({"order": {}}, None, "root", gpus=0.5)
    assert fractions == [pytest.approx(0.5 - gpu_memory.CONTEXT_GB / 24)] * 2


def test_what_compile_has_kept_of_earlier_models_is_given_back():
    import torch._dynamo

    emptied: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch._dynamo, "reset", lambda: emptied.append(True))
        gpu_memory.give_back()
    assert emptied
