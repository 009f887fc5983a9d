"""The Pareto front against brute force, and the rule that chooses one result among several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.config.objectives import front, merit

POINTS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * width), max_size=9)
)
BOTH = {"clean_auroc": "max", "robust_auroc": "max"}


def beats(one, other) -> bool:
    return one != other and not any(a < b for a, b in zip(one, other, strict=True))


@given(POINTS)
def test_the_front_is_what_nobody_beats(points):
    assert front(points) == [at for at, point in enumerate(points) if not any(beats(other, point) for other in points)]


def test_with_one_objective_the_front_is_the_highest():
    assert front([(0.3,), (0.9,), (0.3,), (0.9,)]) == [1, 3]
    assert front([]) == []


def better(one, other, best, directions=BOTH) -> bool:
    """Whether the first of two results (clean, robust) is preferred."""
    named = [dict(zip(BOTH, values, strict=True)) for values in (one, other)]
    return merit(named[0], best, directions) > merit(named[1], best, directions)


@pytest.mark.parametrize(
    ("best", "one", "other"),
    [
        ({}, (0.9, 0.3), (0.6, 0.5)),
        ({"maximize": "mean"}, (0.9, 0.3), (0.6, 0.5)),
        ({"maximize": "robust_auroc"}, (0.6, 0.5), (0.9, 0.3)),
        ({"maximize": "robust_auroc", "at_least": {"clean_auroc": 0.8}}, (0.8, 0.3), (0.79, 0.9)),
        ({"maximize": "robust_auroc", "at_least": {"clean_auroc": 0.8}}, (0.8, 0.4), (0.99, 0.3)),
        ({"maximize": "robust_auroc", "at_least": {"clean_auroc": 0.8}}, (0.7, 0.1), (0.6, 0.9)),
        ({"at_least": {"clean_auroc": 0.8, "robust_auroc": 0.5}}, (0.8, 0.4), (0.6, 0.5)),
    ],
)
def test_bounds_come_first_then_what_is_maximised(best, one, other):
    assert better(one, other, best)
    assert not better(other, one, best)


def test_the_mean_counts_minimised_objectives_against():
    assert better((0.5, 0.2), (0.5, 0.3), {"maximize": "mean"}, {"clean_auroc": "max", "robust_auroc": "min"})


def test_equal_results_are_equal():
    assert not better((0.5, 0.5), (0.5, 0.5), {})
