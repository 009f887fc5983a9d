"""How many trials run at a time: what fits where the resources are fixed, what was asked for where they may grow."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from assay.cluster.capacity import together
from assay.config.search_space import Resources
from assay.errors import SweepError


def asked(**resources):
    return SimpleNamespace(resources=Resources(**resources))


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [
        ({}, {"CPU": 4.0}, 4),
        ({"cpu": 3}, {"CPU": 8.0}, 2),
        ({"gpu": 0.5}, {"CPU": 16.0, "GPU": 1.0}, 2),
        ({"concurrent": 2}, {"CPU": 8.0}, 2),
        ({"concurrent": 20}, {"CPU": 8.0}, 8),
    ],
)
def test_on_fixed_resources_as_many_as_fit(wanted, has, expected):
    assert together(asked(**wanted), has, joined=False) == expected


@pytest.mark.parametrize("joined", [False, True])
def test_a_trial_that_cannot_be_placed_is_refused(joined):
    with pytest.raises(SweepError, match="needs 1 gpu and the cluster has 0") as caught:
        together(asked(gpu=1), {"CPU": 4.0}, joined=joined)
    assert ("resources.concurrent" in str(caught.value)) is joined


def test_a_joined_cluster_without_workers_yet_is_asked_for_them():
    assert together(asked(gpu=1, concurrent=4), {}, joined=True) == 4
    assert together(asked(gpu=1, concurrent=4), {"CPU": 8.0, "GPU": 1.0}, joined=True) == 4


def test_concurrent_alone_does_not_help_where_nothing_can_grow():
    with pytest.raises(SweepError, match=r"lower resources\.cpu"):
        together(asked(concurrent=4), {}, joined=False)
