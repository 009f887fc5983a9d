"""What a sweep taught, in words: on sweeps in which it is known what matters, what is exhausted and what loses."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pyarrow as pa
import pytest
from optuna.distributions import distribution_to_json

from assay.metrics import importance
from assay.metrics.advice import Finding, advice
from assay.metrics.searched_range import Range, ranges
from assay.store import trials_table
from assay.store.trial_log import Record

GOAL = {"robust_auroc": "max"}
RULE = {"maximize": "robust_auroc", "at_least": {}}
FLOAT, LOG = (
    optuna.distributions.FloatDistribution(0.1, 1.0),
    optuna.distributions.FloatDistribution(0.001, 0.1, log=True),
)
WHOLE, STEPS = optuna.distributions.IntDistribution(1, 20), optuna.distributions.FloatDistribution(0, 1, step=0.05)
KINDS = optuna.distributions.CategoricalDistribution(["cutpaste", "perlin", "rotation"])


def record(number: int, value: float, state: str = "complete", **drawn) -> Record:
    """A trial; drawn: parameter -> (value, its distribution)."""
    made = Record(
        number,
        {},
        {name.replace("__", "."): value for name, (value, _) in drawn.items()},
        {name.replace("__", "."): distribution_to_json(of) for name, (_, of) in drawn.items()},
    )
    kept = {"epoch": 1, "robust_auroc": value}
    made.reports.append({"epoch": 1, "values": kept, "kept": kept, "seconds": 1.0, "model": ""})
    made.state = state
    return made


def sweep(count: int, value_of, seed: int = 0) -> dict[int, Record]:
    """So many trials drawn at random; value_of: weight, rate, kind and noise -> the objective."""
    random, found = np.random.default_rng(seed), {}
    for number in range(count):
        weight, rate = random.uniform(0.1, 1), 10 ** random.uniform(-3, -1)
        kind = str(random.choice(KINDS.choices))
        value = value_of(weight, rate, kind, random.normal(0, 0.01))
        found[number] = record(number, value, weight=(weight, FLOAT), rate=(rate, LOG), kind=(kind, KINDS))
    return found


def told(records: dict[int, Record], with_importance: bool = False) -> list[Finding]:
    rows = []
    if with_importance:
        trials = trials_table.listing(GOAL, records, "cobra", {})
        rows = importance.table(trials_table.table(trials), GOAL).to_pylist()
    return advice(records, GOAL, RULE, rows, "toy")


def of(found: list[Finding], kind: str) -> dict[str, str]:
    return {one.parameter: one.text for one in found if one.kind == kind}


def test_a_range_whose_end_is_best_was_exhausted_and_is_to_be_widened():
    found = told(sweep(40, lambda weight, rate, kind, noise: weight + noise))
    [(parameter, text)] = of(found, "edge").items()
    assert parameter == "weight"
    assert "weight was exhausted: " in text
    assert " of the best 5 trials lie in the tenth of its range at the upper end, 1; the best has 0.9" in text
    assert of(found, "next")["weight"] == "widen weight to 1.45, if it may be so: assay sweep FILE --resume toy"


def test_the_lower_end_of_a_logarithmic_range():
    found = told(sweep(40, lambda weight, rate, kind, noise: -np.log(rate) + noise))
    assert "tenth of its range at the lower end, 0.001" in of(found, "edge")["rate"]
    assert of(found, "next")["rate"].startswith("widen rate to 0.0001, if it may be so")


def test_a_best_in_the_middle_exhausts_nothing():
    found = told(sweep(40, lambda weight, rate, kind, noise: -abs(weight - 0.5) - abs(np.log10(rate) + 2) + noise))
    assert of(found, "edge") == {}


def test_one_lucky_trial_at_an_end_exhausts_nothing():
    records = sweep(40, lambda weight, rate, kind, noise: -abs(weight - 0.5) + noise)
    records[40] = record(40, 9.0, weight=(1.0, FLOAT), rate=(0.01, LOG), kind=("perlin", KINDS))
    assert of(told(records), "edge") == {}


def test_an_option_that_never_won_is_told_with_its_counts():
    def value(weight, rate, kind, noise):
        return noise - (kind == "rotation")

    records = sweep(40, value)
    count = sum(one.parameters["kind"] == "rotation" for one in records.values())
    found = told(records)
    assert of(found, "never won") == {
        "kind": f"kind=rotation never won: {count} of 40 complete trials have it, none of the best 10; its own best is "
        f"number {41 - count}"
    }
    assert of(found, "next")["kind"] == "leave out kind=rotation in the next sweep"


def test_an_option_that_was_hardly_tried_is_not_condemned():
    records = sweep(30, lambda weight, rate, kind, noise: noise)
    for one in records.values():
        one.parameters["kind"] = "perlin"
    records[30] = record(30, -1.0, weight=(0.5, FLOAT), rate=(0.01, LOG), kind=("rotation", KINDS))
    assert of(told(records), "never won") == {}


def test_what_mattered_is_told_with_its_share_and_what_did_not_may_be_fixed():
    found = told(sweep(60, lambda weight, rate, kind, noise: -abs(weight - 0.5) + noise / 10), with_importance=True)
    text = of(found, "mattered")["weight"]
    assert text.startswith("weight mattered for robust_auroc: 0.")
    assert "of the importance of all, chance level 0." in text
    assert text.endswith("over 60 complete trials")
    fixed = of(found, "next")
    assert {"rate", "kind"} <= set(fixed)
    assert fixed["rate"].startswith("fix rate at ")
    assert fixed["rate"].endswith("as the best trial has it: no figure shows it")
    assert [one.kind for one in found] == sorted(
        (one.kind for one in found), key=["mattered", "edge", "never won", "next"].index
    )


def test_where_nothing_stands_out_more_trials_are_the_advice():
    """Over many sweeps of noise, few findings are false alarms."""
    alarms, texts = 0, []
    for seed in range(40):
        found = told(sweep(40, lambda weight, rate, kind, noise: noise, seed))
        alarms += len(of(found, "edge")) + len(of(found, "never won"))
        texts += [one.text for one in found]
    assert alarms <= 12  # of 40 x (2 ranges x 2 ends + 3 options), each by chance in at most 1 of 20
    assert "40 complete trials show nothing to change; try more: assay sweep --resume toy --trials 80" in texts


def test_nothing_matters_in_noise():
    found = told(sweep(30, lambda weight, rate, kind, noise: noise, seed=3), with_importance=True)
    assert "nothing is known to matter for robust_auroc: the largest share, 0." in of(found, "mattered")[""]
    assert "is below its chance level 0." in of(found, "mattered")[""]


def test_few_trials_say_nothing_and_those_that_did_not_end_count_not():
    assert told(sweep(7, lambda weight, rate, kind, noise: weight)) == []
    records = sweep(7, lambda weight, rate, kind, noise: weight)
    records[7] = record(7, 5.0, state="running", weight=(1.0, FLOAT))
    assert told(records) == []


def test_an_epsilon_is_written_as_people_write_it():
    epsilon, random = optuna.distributions.FloatDistribution(0, 6 / 255), np.random.default_rng(0)
    values = random.uniform(0, 6 / 255, 40)
    records = {n: record(n, v, adversary__epsilon=(float(v), epsilon)) for n, v in enumerate(values)}
    assert of(told(records), "next")["adversary.epsilon"].startswith("widen adversary.epsilon to 9/255")


def test_a_grid_of_parts_grows_in_a_new_sweep_and_a_floor_of_zero_is_no_range_below():
    records = {n: record(n, -float(n), share=(min(1.0, 0.05 * n), STEPS)) for n in range(20)}
    assert of(told(records), "next")["share"] == (
        "widen share beyond 0, if it may be so: in a new sweep with search.start_from: [toy]"
    )


def test_a_whole_number_has_its_own_edges():
    wide, small = Range(1, 20, False, 1.0, True), Range(1, 3, False, 1.0, True)
    assert wide.edge == pytest.approx(2 / 20)
    assert small.edge == pytest.approx(1 / 3)
    assert (wide.beyond(True), wide.beyond(False)) == (30.0, None)
    assert Range(1, 100, True, 1.0, True).beyond(False) == 1.0
    assert Range(0.1, 1, False, None, True).edge == 0.1
    assert Range(0.001, 0.1, True, None, True).place(0.01) == pytest.approx(0.5)


def test_a_range_is_the_widest_that_any_trial_had():
    wider = optuna.distributions.FloatDistribution(0.0001, 0.05, log=True)
    records = {0: record(0, 0.0, rate=(0.01, LOG)), 1: record(1, 0.0, rate=(0.01, wider), k=(3, WHOLE))}
    found = ranges(records)
    assert (found["rate"].low, found["rate"].high, found["rate"].log) == (0.0001, 0.1, True)
    assert found["k"] == Range(1.0, 20.0, False, 1.0, True)
    constant = json.loads(distribution_to_json(FLOAT))
    constant["attributes"] |= {"low": 1.0, "high": 1.0}
    records[2] = record(2, 0.0)
    records[2].distributions["c"] = json.dumps(constant)
    assert "c" not in ranges(records)


def test_importance_looks_at_a_sample_of_many_trials_the_front_included():
    records = sweep(60, lambda weight, rate, kind, noise: weight)
    records[5].repeats = 4
    trials = trials_table.listing(GOAL, records, "cobra", {})
    some = importance.sample(trials, 20)
    assert len(some) == 21
    assert [trial.number for trial in some if trial.pareto] == trials_table.pareto(GOAL, records)
    assert 5 not in [trial.number for trial in importance.sample(trials, 100)]
    assert isinstance(trials_table.table(some), pa.Table)
