"""How many trials share a machine and a GPU."""

from __future__ import annotations

import re

import pytest
import toy_runs

from assay.cluster import capacity
from assay.config import reader, search_space
from assay.errors import SpecError, SweepError
from assay.store.store import Store
from assay.sweeps.study import Study

GB = 2**30
CLUSTER = {"CPU": 16.0, "GPU": 3.0, "memory": 64 * GB}


def check(tmp_path, **resources) -> search_space.Spec:
    return reader.check(toy_runs.search_space(tmp_path, resources=resources), "toy.yaml")


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


@pytest.mark.parametrize(
    ("resources", "has", "words"),
    [
        ({"gpu": 1}, {"CPU": 2.0, "memory": 8 * GB}, "a trial needs 1 gpu and the cluster has 0; lower resources.gpu"),
        ({"memory_gb": 8}, {"CPU": 2.0, "memory": 5.6 * GB}, "a trial needs 8 memory_gb and the cluster has 5.6"),
        ({"cpu": 4}, {"CPU": 1.0, "memory": 8 * GB}, "a trial needs 4 cpu and the cluster has 1"),
    ],
)
def test_what_one_trial_cannot_have_is_refused_with_both_numbers(tmp_path, resources, has, words):
    with pytest.raises(SweepError, match=re.escape(words)):
        capacity.together(check(tmp_path, **resources), has, joined=False)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"gpu": 1.5}, "resources.gpu: found 1.5; must be a whole number, or a share of one GPU below 1"),
        ({"memory_gb": 0}, "resources.memory_gb: found 0; must be more than 0"),
    ],
)
def test_what_cannot_be_meant_is_a_fault(tmp_path, resources, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        check(tmp_path, **resources)


@pytest.mark.parametrize(("gpu", "device"), [(0, "cpu"), (0.25, "cuda"), (1, "cuda")])
def test_an_order_says_where_the_trial_runs(tmp_path, gpu, device):
    study = Study(check(tmp_path, gpu=gpu), Store(str(tmp_path / "store")))
    order = study.next_order()
    study.log.close()
    assert order.device == device
