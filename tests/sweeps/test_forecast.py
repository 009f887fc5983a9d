"""What a dry run says: what each trainable takes, how many trials run at a time, hours, cost, what a budget allows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import toy_runs
import yaml

from assay.config import reader, search_space
from assay.data import splits
from assay.store.store import Store
from assay.sweeps import forecast, forecast_text, probe
from assay.sweeps.budget import Spent
from assay.sweeps.probe import Rate
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial

PRICE = {"gpu_hour": 2, "cpu_hour": 0.5, "currency": "EUR"}
STOP = {"grace": 2, "reduction": 2}
CHEAP = {"until": 2, "attack": "noise"}
HALF = {**CHEAP, "train": 0.5}
TWO = {
    "choice": [
        {"toy_runs:Runs": {"epochs": 4, "learning_rate": {"choice": [0.01, 0.02, 0.03]}}},
        {"toy_runs_again:Runs": {"epochs": 8}},
    ]
}


@pytest.fixture
def twin(monkeypatch):
    """The toy trainable under a second name."""
    monkeypatch.setitem(__import__("sys").modules, "toy_runs_again", toy_runs)


def write(tmp_path, **changes) -> search_space.Spec:
    raw = toy_runs.search_space(tmp_path, **changes)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    return reader.read(tmp_path / "toy.yaml")


def of(
    found: search_space.Spec, cpus: float = 1, records=None, before: Spent = Spent(), **rates: float
) -> forecast.Forecast:
    """Epochs of 15 s, four a trial, unless said otherwise."""
    known = {name: Rate(name, rates.get(name[-5:], 15.0), 4, "told") for name in probe.alternatives(found)}
    together = max(1, min(int(cpus / found.resources.cpu), found.resources.concurrent or 99))
    return forecast.forecast(found, known, records or {}, together, {"CPU": cpus, "GPU": 1}, before)


def test_a_dry_run_tells_trials_rungs_hours_and_cost_and_writes_nothing(assay, tmp_path):
    budget = {"wall_minutes": 30, "cost": 1e-9, "price": PRICE}
    write(tmp_path, stop_early={"grace": 1, "reduction": 2}, resources={"concurrent": 2}, budget=budget)
    result = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run", "--set", "search.trials=10")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "search space toy: 10 trials over 3 parameters"
    assert any(line.startswith("  pseudo_anomaly.cutpaste.area: ") for line in lines)
    assert any(line.startswith("  toy_runs:Runs: 4 epochs of ") for line in lines)
    assert any(line.endswith(" a trial (probe of 4 epochs)") for line in lines)
    assert "  rungs at epochs 1, 2; about 1 in 2 continues at each" in lines
    [told] = [line for line in lines if line.startswith("  forecast: ")]
    assert " minutes, 20 to 40 epochs, " in told
    assert told.endswith(" EUR")
    assert "GPU" not in told
    assert any(line.startswith("  memory: ") and "`memory_gb: " in line for line in lines)
    assert lines[-2:] == [
        "  budget: wall_minutes 30 is enough",
        "  budget: cost 1e-09 ends the sweep after about 0 of 10 trials",
    ]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("changes", "cpus", "minutes"),
    [
        ({}, 1, (4, 4)),
        ({}, 2, (2, 2)),
        ({}, 100, (1, 1)),
        ({"resources": {"concurrent": 3}}, 100, (4 / 3, 4 / 3)),
        ({"resources": {"cpu": 2}}, 4, (2, 2)),
        ({"stop_early": STOP}, 1, (3, 4)),
        ({"stop_early": STOP}, 4, (0.75, 1)),
        ({"stop_early": {"grace": 4, "reduction": 2}}, 1, (4, 4)),
        ({"stop_early": STOP, "fidelity": {"ladder": [CHEAP]}}, 1, (3, 4)),
        ({"stop_early": STOP, "fidelity": {"ladder": [HALF]}}, 1, (3, 5)),  # two halves, then all four anew
    ],
)
def test_the_forecast_counts_trials_workers_and_rungs(tmp_path, changes, cpus, minutes):
    """Four trials of four epochs of 15 s: a minute each."""
    found = of(write(tmp_path, **changes), cpus)
    assert found.minutes == pytest.approx(minutes)
    assert "at epochs ;" not in forecast_text.text(found)


def test_hours_and_cost_follow_what_a_trial_takes(tmp_path):
    found = of(write(tmp_path, resources={"cpu": 2, "gpu": 0.25}, budget={"price": PRICE}, stop_early=STOP), 8)
    low, high = found.spent
    assert (low.cpu_hours, high.cpu_hours) == pytest.approx((6 / 60, 8 / 60))
    assert (low.gpu_hours, high.gpu_hours) == pytest.approx((0.75 / 60, 1 / 60))
    assert found.plain()["cost"] == pytest.approx([0.05 + 0.025, 4 / 60 + 2 / 60])
    assert "0.075 to 0.10 EUR" in forecast_text.text(found)
    assert "on 1 GPU, 0.25 of one for each" in forecast_text.text(found)


@pytest.mark.parametrize(
    ("resources", "said"), [({}, "; to reserve it, write `memory_gb: 2.4`"), ({"memory_gb": 3}, "")]
)
def test_what_a_trial_was_seen_to_need_is_told_with_the_line_that_asks_for_it(tmp_path, resources, said):
    found = write(tmp_path, resources=resources)
    rate = Rate("toy_runs:Runs", 1.0, 4, "told", memory_gb=2)
    told = forecast.forecast(found, {"toy_runs:Runs": rate}, {}, 1, {"CPU": 4, "GPU": 1})
    lines = [line for line in forecast_text.text(told).splitlines() if "memory:" in line]
    assert lines == [f"  memory: 2.0 GB a trial at its peak{said}"]


def test_trainables_are_drawn_evenly_and_in_a_grid_by_their_points(tmp_path, twin):
    changes = {"trainable": TWO, "fixed": {}, "space": {}}
    found = write(tmp_path, **changes)
    assert forecast.shares(found) == {"toy_runs:Runs": 0.5, "toy_runs_again:Runs": 0.5}
    grid = write(tmp_path, **changes, search={"trials": 9, "sampler": "grid"})
    assert forecast.shares(grid) == {"toy_runs:Runs": 0.75, "toy_runs_again:Runs": 0.25}
    assert of(grid).trials == 4


def test_each_trainable_of_a_choice_is_probed(assay, tmp_path, twin):
    write(tmp_path, trainable=TWO, fixed={}, space={})
    result = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {rate["trainable"]: rate["epochs"] for rate in found["trainables"]} == {
        "toy_runs:Runs": 4,
        "toy_runs_again:Runs": 8,
    }
    assert found["epochs"] == [24, 24]
    assert (found["trials"], found["unfinished"], found["cost"]) == (4, 0, None)
    text = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run").stdout
    assert "assuming each trainable is drawn equally often" in text


@pytest.mark.parametrize(
    ("budget", "before", "within"),
    [
        ({}, Spent(), {}),
        ({"wall_minutes": 4, "cpu_hours": 4 / 60 + 1e-9}, Spent(), {}),
        ({"wall_minutes": 2}, Spent(), {"wall_minutes": (2, 2)}),
        ({"cpu_hours": 0.05}, Spent(cpu_hours=0.01), {"cpu_hours": (2, 3)}),
        ({"cpu_hours": 0.05}, Spent(cpu_hours=0.06), {"cpu_hours": (0, 0)}),
        ({"cost": 0.025, "price": PRICE}, Spent(), {"cost": (3, 4)}),
    ],
)
def test_what_a_budget_is_enough_for(tmp_path, budget, before, within):
    """Four trials of a minute at most; with early stopping three minutes in all, if it stops as many as it can."""
    stop = STOP if "wall_minutes" not in budget else None
    found = of(write(tmp_path, budget=budget, stop_early=stop), before=before)
    assert found.within() == within


def test_of_a_sweep_that_is_resumed_what_remains_is_told_from_its_own_trials(assay, tmp_path):
    found = write(tmp_path, search={"trials": 5, "startup": 2}, stop_early=STOP)
    store = Store(str(tmp_path / "store"))
    store.write("sweeps/toy/spec.yaml", yaml.safe_dump(found.plain()).encode())
    training, study = splits.training_data(found.dataset.function(**found.dataset.arguments())), Study(found, store)
    for steps in (4, 1):  # one trial to its end, one epoch of another
        running = Trial(study.next_order(), training, store)
        for _ in range(steps):
            study.report(running.order.number, running.step())
    study.log.append({"event": "spent", "cpu_hours": 0.5, "gpu_hours": 0.0})
    study.log.close()
    result = assay("sweep", "--resume", "toy", "--dry-run", "--json", "--budget", "cpu_hours=1")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["trials"], told["unfinished"]) == (3, 1)
    assert told["epochs"] == [3 * 3 + 2, 3 * 4 + 3]  # of the one that was begun, one to its rung and half of the rest
    assert told["trainables"][0]["seen"] == "2 trials so far"
    assert told["spent_before"]["cpu_hours"] == 0.5
    text = assay("sweep", "--resume", "toy", "--dry-run").stdout
    assert "  to come: 3 new trials and 1 unfinished; spent: 0.50 CPU-hours" in text.splitlines()


def test_a_probe_ends_when_its_time_is_up(tmp_path, own_cache):
    found = write(tmp_path, fixed={"epochs": 1000})
    training = splits.training_data(found.dataset.function(**found.dataset.arguments()))
    rate = probe.probe("toy_runs:Runs", found, training, seconds=0)
    assert (rate.epochs, rate.seen) == (1000, "probe of 1 epoch")
    assert rate.seconds > 0
    assert 0.05 < rate.memory_gb < 20


def test_a_probe_that_diverges_says_so_in_a_line(assay, tmp_path):
    write(tmp_path, fixed={"trouble": "nan_loss"})
    result = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: a loss is not finite at epoch 2")


def test_what_does_not_fit_this_machine_is_said_before_anything_is_probed(assay, tmp_path):
    write(tmp_path, resources={"memory_gb": 100000})
    result = assay("sweep", str(tmp_path / "toy.yaml"), "--dry-run")
    assert result.exit_code == 1
    assert "a trial needs 100000 memory_gb and the cluster has" in result.stderr
    assert "for a cluster give --address" in result.stderr


def test_large_sets_are_told_of_by_what_they_weigh(tmp_path):
    found = of(write(tmp_path))
    rates = {"toy_runs:Runs": Rate("toy_runs:Runs", 1.0, 4, "told", memory_gb=2.0)}
    told = forecast_text.text(replace(found, rates=rates, image_bytes=3_900_000_000))
    assert told.splitlines()[-1].endswith("; decoded images, once on every machine: 3.9 GB")
    assert "decoded" not in forecast_text.text(replace(found, rates=rates, image_bytes=10_000_000))


def test_what_one_trainable_held_is_given_back_before_the_next_is_probed(tmp_path, own_cache, monkeypatch):
    found, done = write(tmp_path), []
    data = splits.training_data(forecast.dataset(found, resume=False))
    monkeypatch.setattr(probe.gpu_memory, "give_back", lambda: done.append("given back"))
    monkeypatch.setattr(probe, "Trial", lambda *_: done.append("begun") or Trial(*_))
    for name in ("first", "second"):
        probe.probe(name, found, data, seconds=0.0)
    assert done == ["given back", "begun"] * 2
