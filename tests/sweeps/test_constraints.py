"""Limits on what a detector costs: measured, told to the sampler, kept by the front and by `best`."""

from __future__ import annotations

import numpy as np
import pytest
import toy_runs
from pretend import Pretend, drive, search_space

from assay.config import reader
from assay.data import splits
from assay.errors import SpecError
from assay.store import best_trial, trials_table
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial, TrialConfig

LIMITS = {"parameters": 3000, "memory_mb": 0.01, "latency_ms": 1000, "false_alarms": 0.5}


class Costly(Pretend):
    """Every other trial stores too many numbers."""

    def reports(self, order):
        for report in super().reports(order):
            yield {**report, "costs": {"parameters": 4000.0 if order.number % 2 else 2000.0}}


def test_a_trial_measures_what_is_limited_and_nothing_else(tmp_path, own_cache):
    data = splits.training_data(toy_runs.squares(root=str(tmp_path / "squares")))
    found = reader.check(toy_runs.search_space(tmp_path, constraints=LIMITS), "toy.yaml")
    order = Study(found, Store(tmp_path)).next_order()
    report = Trial(order, data, Store(tmp_path)).step()
    costs = report["costs"]
    assert list(costs) == list(LIMITS)
    assert costs["parameters"] == 16 * 16 * 8 + 8 + 8 + 1 + 1  # two layers and the buffer `seen`
    assert costs["memory_mb"] == pytest.approx(4 * costs["parameters"] / 1e6)
    assert 0 < costs["latency_ms"] < 1000
    assert 0 <= costs["false_alarms"] <= 1
    plain = TrialConfig(**{**order.__dict__, "number": 1, "costs": ()})
    assert Trial(plain, data, Store(tmp_path)).step()["costs"] == {}


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_the_sampler_is_told_and_a_resumed_sweep_tells_it_again(tmp_path, sampler):
    found = search_space(tmp_path, sampler, trials=6, constraints={"parameters": 3000})
    study = drive(Study(found, Store(tmp_path)), Costly())
    for one in (study, Study(found, Store(tmp_path))):
        told = [trial.constraints for trial in one.study.get_trials()]
        assert told == [{"parameters": pytest.approx(1 / 3 if n % 2 else -1 / 3)} for n in range(6)]


def test_the_front_and_the_best_keep_within_the_limits(tmp_path):
    found = search_space(tmp_path, "random", trials=6, constraints={"parameters": 3000})
    study = drive(Study(found, Store(tmp_path)), Costly())
    front = trials_table.pareto(found.directions, study.records, found.constraints)
    assert front
    assert all(number % 2 == 0 for number in front)
    assert set(trials_table.pareto(found.directions, study.records)) - set(front)  # which others would lead
    assert best_trial.choose(Store(tmp_path), found, study.records).trial in front
    rows = trials_table.table(trials_table.trials(found, study.records)).to_pylist()
    assert [row["cost.parameters"] for row in rows[:2]] == [2000, 4000]


def test_where_no_trial_keeps_within_them_the_nearest_is_best_and_that_is_said(tmp_path):
    found = search_space(tmp_path, "random", constraints={"parameters": 1000})
    values = {"epoch": 1, "clean_auroc": 0.9, "robust_auroc": 0.5}
    records = {
        n: Record(n, {}, {}, {}, reports=[{"kept": {**values, "robust_auroc": n / 10}, "costs": {"parameters": cost}}])
        for n, cost in enumerate([5000.0, 2000.0, 3000.0])
    }
    for record in records.values():
        record.state = "complete"
    assert trials_table.pareto(found.directions, records) == [2]
    assert trials_table.pareto(found.directions, records, found.constraints) == [1]
    assert best_trial.choose(Store(tmp_path), found, records) == best_trial.Best(
        1,
        "No trial keeps within the constraints (parameters at most 1000). "
        "Trial 1 misses them by least (parameters 2000).",
    )


def test_a_limit_on_what_nobody_measures_is_a_fault(tmp_path):
    with pytest.raises(SpecError) as raised:
        search_space(tmp_path, constraints={"watts": 5, "latency_ms": -1})
    text = str(raised.value)
    assert "constraints.watts" in text
    assert "latency_ms, parameters, memory_mb, false_alarms" in text
    assert "must be at least 0" in text


def test_excess_is_a_share_of_each_limit():
    record = Record(0, {}, {}, {}, reports=[{"kept": {}, "costs": {"latency_ms": 15.0, "parameters": 5.0}}])
    assert record.excess({"latency_ms": 10.0, "parameters": 10.0}) == pytest.approx(0.5)
    assert np.isclose(record.excess({"latency_ms": 10.0, "parameters": 0.0}), 0.5 + 5.0)
