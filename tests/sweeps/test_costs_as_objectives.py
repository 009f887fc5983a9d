"""Costs as objectives: they decide about the front, and about nothing that has another unit."""

from __future__ import annotations

import pytest
import toy_runs
from pretend import Pretend, drive, search_space

from assay.config import objectives as choice
from assay.config import reader
from assay.data import splits
from assay.errors import SpecError
from assay.store import best_trial, trials_table
from assay.store.store import Store
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial

GOALS = {"clean_auroc": "max", "parameters": "min", "train_seconds": "min"}


class Sized(Pretend):
    """A trial has as many parameters as its number says; the better ones are the larger ones."""

    def reports(self, order):
        for report in super().reports(order):
            figures = {"clean_auroc": 0.5 + order.number / 100, "parameters": 1e6 * (order.number + 1)}
            yield {**report, "values": figures, "kept": {"epoch": report["epoch"], **figures}}


def test_a_trial_measures_the_costs_that_are_objectives(tmp_path, own_cache):
    data = splits.training_data(toy_runs.squares(root=str(tmp_path / "squares")))
    found = reader.check(toy_runs.search_space(tmp_path, objectives=GOALS, fixed={"epochs": 4, "pause": 0.05}), "toy")
    trial = Trial(Study(found, Store(tmp_path)).next_order(), data, Store(tmp_path))
    first, second = trial.step(), trial.step()
    assert list(first["values"]) == list(GOALS)
    assert first["values"]["parameters"] == 16 * 16 * 8 + 8 + 8 + 1 + 1
    assert 0.05 <= first["values"]["train_seconds"] <= second["values"]["train_seconds"] - 0.05
    assert second["values"]["train_seconds"] < second["seconds"]  # evaluations are left out
    again = Trial(trial.order, data, Store(tmp_path))
    assert again.trained == trial.trained
    assert set(first["intervals"]) == {"clean_auroc"}


def test_a_small_detector_is_on_the_front_beside_a_good_one(tmp_path):
    found = search_space(tmp_path, "tpe", objectives={"clean_auroc": "max", "parameters": "min"})
    study = drive(Study(found, Store(tmp_path)), Sized())
    assert trials_table.pareto(found.directions, study.records) == list(range(8))
    assert best_trial.choose(Store(tmp_path), found, study.records).trial == 7  # the mean leaves costs out
    assert [trial.values for trial in study.study.get_trials()][7] == pytest.approx([0.57, 8e6])
    assert Study(found, Store(tmp_path)).ended


def test_the_mean_has_one_unit():
    values, directions = {"clean_auroc": 0.9, "robust_auroc": 0.5, "latency_ms": 3.0}, {"latency_ms": "min"}
    assert choice.mean(values, directions) == pytest.approx(0.7)


def test_early_stopping_looks_at_aurocs(tmp_path):
    found = search_space(tmp_path, objectives={"clean_auroc": "max", "parameters": "min"}, stop_early={"grace": 1})
    assert found.stop_metrics == ("clean_auroc",)
    assert found.costs == ("parameters",)


@pytest.mark.parametrize(
    ("objectives", "key", "words"),
    [
        ({"clean_auroc": "max", "latency_ms": "max"}, "objectives.latency_ms", "must be min"),
        (
            {"latency_ms": "min"},
            "objectives",
            "certified_auroc beside costs",
        ),
        ({"clean_auroc": "max", "watts": "min"}, "objectives.watts", "train_seconds"),
    ],
)
def test_what_is_no_goal_is_a_fault(tmp_path, objectives, key, words):
    with pytest.raises(SpecError) as raised:
        search_space(tmp_path, objectives=objectives)
    assert [fault for fault in raised.value.faults if fault.key == key and words in fault.allowed], str(raised.value)
