"""How many trials share a machine and a GPU; CUDA itself is played by fakes, as the tests need no GPU."""

from __future__ import annotations

import gc
import os
import re
import weakref
from types import SimpleNamespace

import pytest
import ray
import torch
import toy_runs

from assay.cluster import capacity, node_gpus
from assay.config import search_space
from assay.errors import SpecError, SweepError
from assay.runtime import gpu
from assay.store.store import Store
from assay.sweeps.study import Study

GB = 2**30
CLUSTER = {"CPU": 16.0, "GPU": 3.0, "memory": 64 * GB}


def check(tmp_path, **resources) -> search_space.Spec:
    return search_space.check(toy_runs.search_space(tmp_path, resources=resources), "toy.yaml")


def settled(found: search_space.Spec, has: float, resources=CLUSTER, joined: bool = False) -> search_space.Spec:
    return capacity.settled(found, resources, joined, lambda: has)


@pytest.mark.parametrize(
    ("resources", "together"),
    [
        ({}, 16),
        ({"cpu": 0.1}, 160),  # 16 // 0.1 is 159 in floating point
        ({"gpu": 1}, 3),
        ({"gpu": 0.25}, 12),
        ({"gpu": 0.4}, 6),  # no trial lies on two GPUs, so not 7
        ({"gpu": 2}, 1),
        ({"gpu": 0.25, "concurrent": 5}, 5),
        ({"memory_gb": 20}, 3),
    ],
)
def test_as_many_trials_run_at_a_time_as_fit(tmp_path, resources, together):
    assert capacity.together(check(tmp_path, **resources), CLUSTER, joined=False) == together


@pytest.mark.parametrize(("wanted", "has", "fit"), [(5.5, 24, 4), (5.6, 24, 3), (2.9, 24, 7), (1, 80, 53), (20, 24, 1)])
def test_a_memory_need_becomes_the_share_with_which_as_many_fit(tmp_path, wanted, has, fit):
    """CUDA takes half a GB of every trial's part for itself."""
    found = settled(check(tmp_path, gpu_memory_gb=wanted, cpu=0.01), has)
    in_steps = round(found.resources.gpu * capacity.RAY_STEPS)  # as Ray counts
    assert in_steps == pytest.approx(found.resources.gpu * capacity.RAY_STEPS)
    assert capacity.RAY_STEPS // in_steps == fit
    assert capacity.together(found, CLUSTER, joined=False) == 3 * fit
    assert capacity.need(found)["gpu"] == found.resources.gpu
    assert found.hash != check(tmp_path).hash


def test_no_gpu_is_asked_where_that_decides_nothing(tmp_path):
    def never() -> float:
        pytest.fail("asked")

    plain = check(tmp_path, gpu=0.5)
    assert capacity.settled(plain, CLUSTER, False, never) is plain
    without = {**CLUSTER, "GPU": 0}
    with pytest.raises(SweepError, match=r"a trial needs 1 gpu and the cluster has 0"):
        capacity.settled(check(tmp_path, gpu_memory_gb=4), without, True, never)
    growing = check(tmp_path, gpu_memory_gb=4, concurrent=9)
    assert settled(growing, 24, without, joined=True).resources.gpu == 0.2


def test_a_trial_that_no_gpu_can_hold_is_refused(tmp_path):
    with pytest.raises(SweepError, match=r"needs 24 GB of GPU memory, CUDA itself 0.5 GB, and a GPU .* has 23.6"):
        settled(check(tmp_path, gpu_memory_gb=24), 23.6)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (
            {"gpu": 0.5, "gpu_memory_gb": 6},
            "resources.gpu_memory_gb: found 6.0; says what share of a GPU",
        ),
        ({"gpu": 1.5}, "resources.gpu: found 1.5; must be a whole number, or a share of one GPU below 1"),
        ({"gpu_memory_gb": 0}, "resources.gpu_memory_gb: found 0; must be more than 0"),
    ],
)
def test_what_cannot_be_meant_is_a_fault(tmp_path, resources, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        check(tmp_path, **resources)


def test_an_order_says_where_the_trial_runs_and_what_it_may_fill(tmp_path):
    study = Study(check(tmp_path, gpu_memory_gb=5.5), Store(str(tmp_path / "store")))
    study.spec = settled(study.spec, 24)
    order = study.next_order()
    study.log.close()
    assert (order.device, order.gpu) == ("cuda", 0.25)


def test_a_trial_keeps_to_its_part_of_a_gpu(monkeypatch):
    limits = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=25 * GB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share))
    for share in (0, 1, 2, 0.25, 0.01):
        gpu.keep_to(share)
    assert limits == [pytest.approx(0.23), 0.01]  # less CUDA's own half GB of 25, and never nothing


def test_the_most_that_pytorch_held_is_asked_for_and_counted_anew(monkeypatch):
    held = [6 * GB]
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: held[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: held.__setitem__(0, GB))
    assert [gpu.peak_gb(), gpu.peak_gb()] == [6, 1]


def test_what_a_trial_leaves_on_a_gpu_is_given_back(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    gpu.emptied()
    assert emptied


def test_what_a_trial_left_is_looked_for_outside_of_the_modules():
    """A collection goes through every object that is not set aside; of PyTorch's there are over 100,000."""

    class Left:
        pass

    gpu.emptied()
    left = Left()
    left.itself = left
    gone = weakref.ref(left)
    del left
    gpu.emptied()
    assert gone() is None
    assert gc.get_freeze_count() > 100_000


def test_a_cluster_s_gpus_are_asked_for_their_memory_where_they_are():
    """Two GPUs that are there only in Ray's account: the task runs, PyTorch finds none."""
    ray.init(address="local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert node_gpus.memory_gb(lambda: 24.0, patience=60) == 24.0
        with pytest.raises(
            SweepError, match=r"a GPU of the cluster cannot be used by PyTorch there: \w+Error: .*(CUDA|NVIDIA)"
        ):
            node_gpus.memory_gb(patience=60)
        with pytest.raises(SweepError, match=r"^a node with a GPU did not say how much memory.*again") as lost:
            node_gpus.memory_gb(lambda: os._exit(1), patience=60)
        assert "PyTorch" not in str(lost.value)
    finally:
        ray.shutdown()
    ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(SweepError, match=r"no GPU could be asked for its memory in 1 s; look at `ray status`"):
            node_gpus.memory_gb(lambda: 24.0, patience=1)
    finally:
        ray.shutdown()
