"""What a sweep has spent, and that it ends when its budget is used up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy_runs
import yaml
from click.testing import CliRunner
from sweep_process import Sweep, wait_for

from assay.cli import main
from assay.cluster.idle_warning import Waiting
from assay.cluster.started_workers import UpTime
from assay.config import reader, search_space
from assay.config.search_space import Budget, Price, Resources
from assay.errors import SpecError
from assay.store import cluster_cost, trial_log, trials_table
from assay.store.store import Store
from assay.store.trial_log import TrialLog
from assay.sweeps import budget, sweep
from assay.sweeps import tune as tune_run
from assay.sweeps.budget import Meter, Spent
from assay.sweeps.tune_adapters import BudgetCallback

SEARCHER = SimpleNamespace(began=lambda trial_id: None)
ASSAY = str(Path(sys.executable).with_name("assay"))
PRICE = Price(gpu_hour=2, cpu_hour=0.1, currency="EUR")


class Clock:
    def __init__(self):
        self.hours = 0.0

    def __call__(self) -> float:
        return self.hours * 3600


def meter(resources: Resources, limits: Budget | None = None, before: Spent | None = None) -> tuple[Meter, Clock]:
    clock = Clock()
    found = Meter(limits or Budget(), before or Spent(), clock)
    found.start(resources)
    return found, clock


def test_what_trials_hold_is_counted_while_they_hold_it():
    found, clock = meter(Resources(cpu=2, gpu=0.25))
    found.begins("a")
    clock.hours = 1
    found.begins("b")
    clock.hours = 2
    found.ends("a")
    found.ends("a")  # told twice: stopped, and then gone
    clock.hours = 4
    assert found.spent() == Spent(cpu_hours=10, gpu_hours=1.25)
    found.ends("b")
    clock.hours = 9
    assert found.spent() == Spent(cpu_hours=10, gpu_hours=1.25)
    assert found.spent().cost(PRICE) == pytest.approx(3.5)
    assert found.spent().text(PRICE) == "10.00 CPU-hours, 1.25 GPU-hours, 3.50 EUR"
    assert Spent(0.001234).text(None) == "0.0012 CPU-hours"


def test_the_notes_of_a_log_add_up_to_what_was_spent():
    found, clock = meter(Resources(cpu=1, gpu=0.5), before=Spent(3, 1))
    assert found.note() is None
    found.begins("a")
    notes = []
    for hours in (0.5, 0.501, 2):  # the second comes too soon after the first
        clock.hours = hours
        notes.append(found.note())
    assert notes[1] is None
    clock.hours = 2.001
    notes.append(found.note(now=True))
    assert found.note(now=True) is None
    total = budget.spent([{"event": "start"}, *filter(None, notes), {"event": "ask", "trial": 0}])
    assert total.cpu_hours == pytest.approx(2.001)
    assert (Spent(3, 1) + total).gpu_hours == pytest.approx(found.spent().gpu_hours)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, {}),
        ({"wall_minutes": 61, "gpu_hours": 2.1, "cpu_hours": 11, "cost": 5.2, "price": PRICE}, {}),
        ({"wall_minutes": 60}, {"wall_minutes": "wall_minutes: 60.00 of 60"}),
        ({"gpu_hours": 2, "cost": 9, "price": PRICE}, {"gpu_hours": "gpu_hours: 2.00 of 2"}),
        (
            {"cpu_hours": 9, "cost": 5, "price": PRICE},
            {"cpu_hours": "cpu_hours: 10.00 of 9", "cost": "cost: 5.00 of 5 EUR"},
        ),
    ],
)
def test_a_budget_is_used_up_part_by_part(limits, words):
    """An hour with 5 cores and a GPU, and as much before."""
    found, clock = meter(Resources(cpu=5, gpu=1), Budget(**limits), before=Spent(5, 1))
    found.begins("a")
    clock.hours = 1
    assert found.over() == words


def test_a_worker_that_dies_and_one_that_is_stopped_stop_costing():
    told = []
    found, clock = meter(Resources())
    tune = BudgetCallback(found, SEARCHER, told.append, Waiting("trial", {}, dict))
    trials = {name: SimpleNamespace(trial_id=name) for name in "abc"}
    for trial in trials.values():
        tune.on_trial_start(0, [], trial)
    clock.hours = 1
    tune.on_trial_complete(0, [], trials["a"])
    tune.on_trial_error(0, [], trials["b"])
    clock.hours = 2
    tune.on_step_end(0, [])
    assert told == [{"event": "spent", "cpu_hours": pytest.approx(4), "gpu_hours": 0}]
    clock.hours = 3
    tune.on_experiment_end(list(trials.values()))
    clock.hours = 9
    assert found.spent().cpu_hours == pytest.approx(5)
    assert sum(note["cpu_hours"] for note in told) == pytest.approx(5)


def test_trials_that_only_wait_are_told_of_once_a_minute(caplog):
    found, clock = meter(Resources())
    idle = Waiting("trial", {"cpu": 2, "gpu": 0.25, "memory_gb": None}, lambda: {"CPU": 1.0}, clock)
    tune, trial = BudgetCallback(found, SEARCHER, [].append, idle), SimpleNamespace(trial_id="a")
    told = []
    for minutes in range(8):
        clock.hours = 1.001 * minutes / 60
        if minutes in (0, 4):
            tune.on_trial_start(0, [], trial)
        if minutes in (1, 5):
            tune.on_trial_complete(0, [], trial)
        for _ in range(3):
            tune.on_step_end(0, [])
        told.append(len(caplog.messages))
    assert told == [0, 1, 2, 3, 3, 4, 5, 6]
    words = "each needs 2 cpu, 0.25 gpu and the cluster has 1 cpu, 0 gpu; look at `ray status`"
    assert caplog.messages[1] == f"no trial has had a worker for 120 s; {words}"


def check(tmp_path, **changes) -> search_space.Spec:
    return reader.check(toy_runs.search_space(tmp_path, **changes), "toy.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": {"cost": 20}}, "budget.cost: found 20.0; needs the price of what trials use: budget.price"),
        ({"budget": {"cost": 20, "price": {"gpu_hour": 1}}}, "with cpu_hour, as trials take no GPU"),
        ({"budget": {"cost": 20}, "resources": {"gpu": 1}}, "with gpu_hour or cpu_hour"),
        ({"budget": {"gpu_hours": 2}}, "budget.gpu_hours: found 2.0; can never be used up, as trials take no GPU"),
        ({"budget": {"price": {"gpu_hours": 1}}}, "budget.price.gpu_hours: found 1; unknown key (did you mean 'gpu"),
        ({"budget": {"cpu_hours": 0}}, "budget.cpu_hours: found 0; must be more than 0"),
    ],
)
def test_a_budget_that_could_never_be_used_up_is_a_fault(tmp_path, changes, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        check(tmp_path, **changes)


def test_money_is_no_part_of_what_a_sweep_is(tmp_path):
    plain, rich = check(tmp_path), check(tmp_path, budget={"cost": 20, "price": {"cpu_hour": 0.04}})
    assert plain.hash == rich.hash
    assert rich.hash != check(tmp_path, retries=5).hash
    again = reader.changed(rich, ["budget.cost=40", "budget.price.currency=CHF"])
    assert (again.budget.cost, again.budget.price) == (40, Price(cpu_hour=0.04, currency="CHF"))
    assert reader.changed(plain, ["budget.cpu_hours=2", "budget.price.cpu_hour=1"]).budget.price == Price(cpu_hour=1)


def test_a_budget_on_the_command_line_is_checked_as_in_the_file(tmp_path):
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(toy_runs.search_space(tmp_path)))

    def run(value: str) -> str:
        result = CliRunner().invoke(main, ["sweep", str(tmp_path / "toy.yaml"), "--budget", value])
        assert result.exit_code == 2
        return result.stderr

    assert "budget.money: found 20; unknown key" in run("money=20")
    assert "budget.cost: found 20.0; needs the price" in run("cost=20")
    assert "'cost': write KEY=VALUE, such as cost=20; the keys are wall_minutes, gpu_hours" in run("cost")
    assert "'=20': write KEY=VALUE" in run("=20")


def test_wall_time_begins_when_trials_can(tmp_path, own_cache, monkeypatch):
    """Before, there may have been a wait for the store, and images were read."""
    found, began = check(tmp_path, budget={"wall_minutes": 5}), []
    late = Meter(found.budget, clock=(clock := Clock()))
    clock.hours = 1
    assert late.over()
    monkeypatch.setattr(sweep, "connected", lambda address: nullcontext({"CPU": 1.0}))
    monkeypatch.setattr(tune_run, "fit", lambda study, data, concurrent, meter, joined: began.append(meter.over()))
    sweep.run(found, Store(tmp_path / "store"), meter=late)
    assert began == [{}]


def test_a_sweep_ends_when_its_money_is_used_up_and_goes_on_with_more(tmp_path, own_cache):
    changes = {"fixed": {"epochs": 40, "pause": 0.05}, "resources": {"concurrent": 1}, "search": {"trials": 2}}
    raw = toy_runs.search_space(tmp_path, **changes, budget={"cost": 1, "price": {"cpu_hour": 3600}})  # 1 USD a second
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    environment = {**os.environ, "PYTHONPATH": str(Path(toy_runs.__file__).parent), "WANDB_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)

    def run(*arguments: str) -> tuple[int, str]:
        command = [ASSAY, "sweep", *arguments, "--store", str(tmp_path / "store")]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    store = Store(str(tmp_path / "store"))
    code, output = run("toy.yaml")
    assert code == 0, output
    assert re.search(r"spent in all: \S+ CPU-hours, [\d.]+ USD", output)
    assert re.search(r"budget used up: cost: [\d.]+ of 1 USD", output)
    assert "stopped early; go on with: assay sweep --resume toy --budget cost=2 --store" in output
    first = budget.spent(trial_log.read(store, "toy"))
    assert 1 <= first.cost(Price(cpu_hour=3600)) < 30
    assert "running" in {record.state for record in trials_table.load(store, "toy")[1].values()}

    code, output = run("--resume", "toy")
    assert code == 1, output
    assert "sweep 'toy' has used up its budget (cost: " in output
    assert "assay sweep --resume toy --budget cost=2" in output

    code, output = run("--resume", "toy", "--budget", "cost=1000")
    assert code == 0, output
    assert {record.state for record in trials_table.load(store, "toy")[1].values()} == {"complete"}
    assert budget.spent(trial_log.read(store, "toy")).cpu_hours > first.cpu_hours


def test_what_a_killed_driver_spent_is_known_to_the_next(tmp_path, own_cache):
    sweep = Sweep(tmp_path)
    sweep.write(fixed={"epochs": 400, "pause": 0.05})
    often = "from assay.sweeps import budget; budget.NOTED_EVERY = 0.5\nfrom assay.cli import main; main()"
    process = sweep.start("toy.yaml", code=often)
    wait_for(
        lambda: process.poll() is not None or budget.spent(sweep.events()).cpu_hours > 1 / 3600, "a second to be noted"
    )
    process.kill()
    sweep.end(process)
    code, output = sweep.run("--resume", "toy", "--budget", f"cpu_hours={1 / 3600}")
    assert code == 1, output
    assert "sweep 'toy' has used up its budget (cpu_hours: " in output


def test_a_spent_budget_ends_the_idle_workers_and_says_what_was_forecast_held_and_started(monkeypatch, tmp_path):
    ended, store = [], Store(tmp_path)
    monkeypatch.setattr(sweep.started_workers, "end_idle", lambda: ended.append(1) or 3)
    forecast = {"cpu_hours": [2.0, 4.0], "gpu_hours": [2.0, 4.0], "cost": [4.2, 8.4], "currency": "EUR"}
    cluster_cost.keep_forecast(store, "toy", "a hash", {**forecast, "minutes": [60, 90], "trials": 4})
    log, found, clock = TrialLog(store, "toy"), *meter(Resources(cpu=1, gpu=1), Budget(cost=5, price=PRICE))
    found.workers = UpTime()
    found.begins("a")
    for hours, cpus, gpus in ((1, 4, 1), (3, 16, 4)):
        clock.hours, found.workers = hours, UpTime(cpus, gpus)
        log.append(found.note(now=True))
    found.ends("a")
    log.close()
    spec = SimpleNamespace(budget=found.budget, name="toy", hash="a hash")
    study = SimpleNamespace(spec=spec, interrupted="budget", store=store)
    told = (
        "workers were up for 4 GPU-hours, 16 CPU-hours, 9.6 EUR; trials held 3 GPU-hours, 3 CPU-hours, 6.3 EUR of it, "
        "75%; forecast 2 to 4 GPU-hours, 2 to 4 CPU-hours, 4.2 to 8.4 EUR"
    )
    assert list(sweep._about_workers(study, found)) == [told, "idle workers that were ended: 3"]
    assert cluster_cost.sentence(store, "toy") == told, "at any time later"
    study.interrupted, spec.hash = "", "of a space that was changed"
    assert list(sweep._about_workers(study, found)) == [told.partition("; forecast")[0]]
    assert ended == [1]


def test_on_machines_that_no_autoscaler_started_nothing_is_said_of_them(tmp_path):
    store, (found, clock) = Store(tmp_path), meter(Resources(cpu=1), Budget())
    found.workers = UpTime()
    found.begins("a")
    clock.hours = 3
    log = TrialLog(store, "toy")
    log.append(found.note(now=True))
    log.close()
    study = SimpleNamespace(spec=SimpleNamespace(budget=found.budget, name="toy"), interrupted="budget", store=store)
    assert list(sweep._about_workers(study, found)) == []
    assert cluster_cost.sentence(store, "toy") == ""
