"""A recorded sweep played again: the real study decides, the recorded curves answer, nothing is trained."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from assay.config import reader
from assay.errors import SweepError
from assay.store import trials_table
from assay.store.store import Store
from assay.sweeps.study import Study

FILE = Path(__file__).parents[2] / "benchmarks" / "sweep_simulator.py"
SPECIFICATION = importlib.util.spec_from_file_location("sweep_simulator", FILE)
simulator = sys.modules["sweep_simulator"] = importlib.util.module_from_spec(SPECIFICATION)  # dataclasses look there
SPECIFICATION.loader.exec_module(simulator)
Curve, Report = simulator.Curve, simulator.Report


SPACE = {
    "name": "played",
    "trainable": "cobra",
    "dataset": {"name": "elpv"},
    "fixed": {"epochs": 4},
    "space": {"adversary.epsilon": {"uniform": [0, 8 / 255]}, "loss.pairs": {"choice": ["none", "supcon"]}},
    "evaluation": {"attack": "pgd", "epsilon": "2/255", "every": 1},
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "search": {"sampler": "random", "trials": 40, "seed": 0},
    "stop_early": {"grace": 1, "reduction": 2},
}


def curve(epsilon: float, pairs: str, height: float) -> Curve:
    values = [{"clean_auroc": height + 0.01 * epoch, "robust_auroc": height} for epoch in range(4)]
    reports = tuple(Report(epoch + 1, figures, 10.0 * (epoch + 1)) for epoch, figures in enumerate(values))
    return Curve({"adversary.epsilon": epsilon, "loss.pairs": pairs}, reports)


RECORDED = [curve(0.0, "none", 0.5), curve(0.03, "none", 0.7), curve(0.0, "supcon", 0.6), curve(0.03, "supcon", 0.8)]


def play(folder, workers: int = 8) -> simulator.Simulated:
    return simulator.simulate(reader.check(SPACE, "a test"), Store(folder), simulator.Nearest(RECORDED).to, workers)


def test_every_trial_gets_the_figures_of_the_recorded_trial_nearest_to_it(tmp_path):
    study = play(tmp_path).study
    assert len(study.records) == 40
    for record in study.records.values():
        strong = record.parameters["adversary.epsilon"] > 0.015
        expected = 0.5 + 0.1 * (record.parameters["loss.pairs"] == "supcon") + 0.2 * strong
        assert record.reports[0]["values"]["robust_auroc"] == pytest.approx(expected)


def test_weak_trials_are_stopped_early_and_the_log_can_be_read_as_of_a_real_sweep(tmp_path):
    found = play(tmp_path)
    whole = reader.check(SPACE, "a test")
    states = [record.state for record in found.study.records.values()]
    assert set(states) == {"complete", "pruned"}
    replayed = Study(whole, Store(tmp_path))
    assert replayed.ended
    assert trials_table.pareto(whole.directions, replayed.records) == trials_table.pareto(
        whole.directions, found.study.records
    )


def test_time_is_that_of_the_workers_not_of_the_clock(tmp_path):
    alone, many = play(tmp_path / "one", 1), play(tmp_path / "many", 40)
    reports = sum(len(record.reports) for record in alone.study.records.values())
    assert alone.seconds == 10.0 * reports
    assert many.seconds == 40.0


def test_it_is_the_same_again(tmp_path):
    first, second = play(tmp_path / "first"), play(tmp_path / "second")
    assert first.seconds == second.seconds
    assert [r.state for r in first.study.records.values()] == [r.state for r in second.study.records.values()]


def test_a_sweep_in_the_store_is_a_recorded_one(tmp_path):
    play(tmp_path / "first")
    store = Store(tmp_path / "first")
    store.write("sweeps/played/spec.yaml", json.dumps(SPACE).encode())
    whole, records = trials_table.load(store, "played")
    curves = simulator.curves(whole, records)
    found = simulator.simulate(whole, Store(tmp_path / "again"), simulator.Nearest(curves).to, 8)
    assert len(curves) == sum(record.state == "complete" for record in records.values()) > 0
    told = {tuple(report["values"].items()) for record in found.study.records.values() for report in record.reports}
    assert told <= {tuple(report.values.items()) for curve in curves for report in curve.reports}


def test_every_decision_is_noted_with_what_kind_it_was(tmp_path):
    found = play(tmp_path)
    records = found.study.records.values()
    assert len(found.asking) == 8 + 40  # each worker at first, and again after each trial
    assert len(found.judging) == sum(len(record.reports) for record in records)
    assert sum(one.ended for one in found.judging) == 40
    assert {one.epoch for one in found.judging} == {1, 2, 3, 4}


def test_a_parameter_that_only_some_recorded_trials_have_counts(tmp_path):
    recorded = [Curve({"a": 1.0}, RECORDED[0].reports), Curve({"b": "x"}, RECORDED[1].reports)]
    nearest = simulator.Nearest(recorded)
    assert nearest.to({"a": 1.2}) is recorded[0]
    assert nearest.to({"b": "x"}) is recorded[1]


def test_a_sweep_that_is_there_is_not_played_over(tmp_path):
    play(tmp_path)
    with pytest.raises(SweepError, match="simulate into a store of its own"):
        play(tmp_path)


def test_curves_of_a_sweep_without_a_complete_trial_are_an_error():
    with pytest.raises(SweepError, match="no complete trial to simulate from"):
        simulator.curves(reader.check(SPACE, "a test"), {})
