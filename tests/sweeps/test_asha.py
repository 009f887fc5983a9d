"""Successive halving: rungs, who goes on with one objective and with several, and a rung table rebuilt from reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.sweeps.asha import SuccessiveHalving

BOTH = {"clean_auroc": "max", "robust_auroc": "max"}


def one(direction="max", grace=2, reduction=3) -> SuccessiveHalving:
    return SuccessiveHalving(["clean_auroc"], {"clean_auroc": direction}, grace, reduction)


def decisions(halving, epoch, values) -> list[bool]:
    return [halving.goes_on(trial, epoch, {"clean_auroc": value}) for trial, value in enumerate(values)]


@pytest.mark.parametrize(
    ("grace", "reduction", "epochs", "levels"),
    [(2, 3, 54, [2, 6, 18]), (2, 3, 55, [2, 6, 18, 54]), (1, 2, 8, [1, 2, 4]), (8, 3, 60, [8, 24]), (5, 3, 5, [])],
)
def test_rungs_are_grace_times_powers_of_the_reduction_below_the_last_epoch(grace, reduction, epochs, levels):
    assert one(grace=grace, reduction=reduction).levels(epochs) == levels


def test_nobody_is_stopped_before_the_first_rung():
    halving = one(grace=4)
    assert all(halving.goes_on(trial, epoch, {"clean_auroc": -trial}) for trial in range(9) for epoch in (1, 2, 3))
    assert halving.rungs == {}


def test_the_first_goes_on_and_then_the_best_third_of_those_seen():
    assert decisions(one(), 2, [0.5, 0.4, 0.6, 0.55, 0.7, 0.58, 0.65]) == [True, False, True, False, True, False, True]


def test_a_minimised_objective_is_better_when_lower():
    assert decisions(one("min"), 2, [0.5, 0.6, 0.4]) == [True, False, True]


def test_of_equals_the_earlier_trial_goes_on():
    assert decisions(one(), 2, [0.5, 0.5, 0.5]) == [True, False, False]


def test_each_rung_has_its_own_competition():
    halving = one(grace=1)
    assert decisions(halving, 1, [0.5, 0.6]) == [True, True]
    assert halving.goes_on(1, 3, {"clean_auroc": 0.2})
    assert not halving.goes_on(0, 3, {"clean_auroc": 0.1})


def test_a_report_that_passes_several_rungs_counts_in_each():
    halving = one(grace=1)
    decisions(halving, 10, [0.5, 0.6])
    assert {level: len(rung) for level, rung in halving.rungs.items()} == {1: 2, 3: 2, 9: 2}


def test_a_decision_is_kept_to_when_the_report_is_told_again():
    halving = one()
    first = decisions(halving, 2, [0.5, 0.4, 0.6])
    assert decisions(halving, 2, [0.5, 0.4, 0.6]) == first == [True, False, True]
    assert not halving.goes_on(1, 3, {"clean_auroc": 0.99})
    assert len(halving.rungs[2]) == 3


def test_with_several_objectives_the_front_goes_on_first_and_ties_go_by_the_mean():
    halving = SuccessiveHalving(list(BOTH), BOTH, 1, 2)

    def goes_on(trial, clean, robust):
        return halving.goes_on(trial, 1, {"clean_auroc": clean, "robust_auroc": robust})

    assert goes_on(0, 0.5, 0.5)
    assert not goes_on(1, 0.4, 0.4)  # beaten by 0
    assert not goes_on(2, 0.9, 0.05)  # on the front, of a lower mean than 0; one of three goes on
    assert goes_on(3, 0.45, 0.9)  # on the front, of the highest mean; two of four
    assert not goes_on(4, 0.45, 0.5)  # of a higher mean than 2, but beaten


def test_the_share_that_goes_on_is_about_one_in_reduction():
    values = np.random.default_rng(0).random(300)
    halving = one(grace=1)
    decisions(halving, 1, values)
    order = np.argsort(-values)
    on = [trial for trial in range(300) if trial not in halving.stopped]
    assert 90 < len(on) < 125
    assert set(order[:50]) <= set(on)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1)), max_size=40),
    st.integers(0, 40),
)
def test_rungs_rebuilt_from_reports_decide_as_the_first_ones_did(reports, cut):
    def told(halving, some):
        return [halving.goes_on(t, e, {"clean_auroc": a, "robust_auroc": b}) for t, e, a, b in some]

    whole, rebuilt = (SuccessiveHalving(list(BOTH), BOTH, 1, 2) for _ in range(2))
    expected = told(whole, reports)
    told(rebuilt, reports[:cut])
    assert told(rebuilt, reports[:cut][-1:]) == expected[:cut][-1:]  # the last one may be told once more
    assert told(rebuilt, reports[cut:]) == expected[cut:]
    assert rebuilt.rungs == whole.rungs
