"""The comparison of searches on a virtual clock: what each arm pays and what counts as found."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def quality():
    """The benchmark, which imports its neighbours by their names."""
    sys.path.append(str(FOLDER))
    import search_quality

    yield search_quality
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def table(quality):
    """Every configuration of the real space with made-up figures: those that are told the polarity are good."""
    from search_table import ATTACKS, EPOCHS, FULL, orders

    found = {}
    for _, parameters in orders():
        good = 0.1 * ("dark" in parameters.values())
        once = parameters["trainable"] == "local_pixels"
        found[quality.key(parameters)] = [
            {
                "epoch": 1 if once else epoch,
                "done": once or epoch == EPOCHS[-1],
                "trained": float(epoch),
                "scoring": 0.0,
                "clean": 0.85 + good,
                **dict.fromkeys(ATTACKS, 0.6 + good),
                **{f"{name} seconds": 10.0 if name == FULL else 1.0 for name in ATTACKS},
            }
            for epoch in EPOCHS[: 1 if once else None]
        ]
    return found


def test_the_space_is_finite_and_large_enough(table):
    assert len(table) == 159


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([(0.9, 0.7)], 0.1 * 0.2),
        ([(0.9, 0.7), (0.85, 0.6)], 0.1 * 0.2),
        ([(0.9, 0.7), (0.85, 0.8)], 0.1 * 0.2 + 0.05 * 0.1),
        ([(0.79, 0.9), (0.9, 0.4)], 0.0),
    ],
)
def test_the_hypervolume_is_the_area_above_the_reference(quality, points, area):
    assert quality.hypervolume(points) == pytest.approx(area)


def test_time_runs_until_enough_is_spanned(quality):
    found = [(2.0, (0.85, 0.6)), (5.0, (0.9, 0.7)), (9.0, (0.95, 0.9))]
    assert quality.until(found, 0.019) == 5.0
    assert quality.until(found, 0.05) == 9.0
    assert quality.until(found, 0.07) == math.inf


def test_a_trial_on_the_ladder_pays_cheap_attacks_and_its_share_of_checks(quality, table):
    rows = next(rows for rows in table.values() if len(rows) == 4)
    curve = quality.ladder_curve(rows, {})
    assert [report.rung for report in curve.reports] == ["fgsm", "pgd-5", "pgd-20x2", ""]
    spent = [1 + 2.0, 2 * (1 + 2.0), 3 * (1 + 2.0), 3 * (1 + 2.0) + 10]  # an attack of 1 s, a fifth of one of 10 s
    seconds = [row["trained"] + attacks for row, attacks in zip(rows, spent, strict=True)]
    assert [report.seconds for report in curve.reports] == pytest.approx(seconds)
    once = next(rows for rows in table.values() if len(rows) == 1)
    assert [(r.rung, r.seconds) for r in quality.ladder_curve(once, {}).reports] == [("", 11.0)]


def test_rivals_pay_each_configuration_once_and_meet_all_of_them(quality, table):
    found = list(quality.ARMS["random"](table, 0, 4))
    assert found == sorted(found, key=lambda one: one[0])
    whole = sum(rows[-1]["trained"] + 10 for rows in table.values())
    assert len(found) == len(table)
    assert max(seconds for seconds, _ in found) >= whole / 4


def test_asha_measures_by_the_full_attack_at_its_own_rungs(quality, table):
    found = list(quality.ARMS["asha"](table, 0, 1))
    assert found[0][0] in (11.0, 1 + 10.0)
    assert len(found) < sum(map(len, table.values()))


def test_ours_measures_every_configuration_once(quality, table):
    found = quality.ARMS["ours"](table, 0, 4)
    assert found == sorted(found)
    assert len(found) == len(table)
    assert quality.until(found, 0.95 * quality.hypervolume([(0.95, 0.7)])) < math.inf


def test_who_knows_the_trainable_draws_from_it_alone(quality, table):
    """`monotone`, where its configurations are the best: 36 trainings of 27 s and 10 s of attacks on two workers."""
    lower = {
        name: [{**row, "clean": 0.9 if "monotone" in name else 0.85} for row in rows] for name, rows in table.items()
    }
    found = quality.ARMS["known"](lower, 0, 2)
    assert [seconds for seconds, _ in found] == [37.0 * (1 + at // 2) for at in range(36)]


def test_the_ladder_finds_only_what_was_complete_and_the_same_again(quality, table):
    found = quality.ARMS["ladder"](table, 0, 4)
    assert found == quality.ARMS["ladder"](table, 0, 4)
    assert 0 < len(found) < len(table)
    assert quality.until(found, 0.95 * quality.hypervolume([(0.95, 0.7)])) < math.inf


def test_the_arms_of_the_real_comparison_are_search_spaces(quality):
    from search_table import space

    specs = {
        name: space(**{**changes, "search": {**changes["search"], "trials": 9}})
        for name, changes in quality.REAL.items()
    }
    assert [spec.ladder for spec in specs.values()] == [(), (), (1, 3, 9), (1, 3, 9), ()]
    assert specs["asha"].stop_metrics == ("robust_auroc",)
    assert len({spec.evaluation.model_dump_json() for spec in specs.values()}) == 1
