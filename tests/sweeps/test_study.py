"""A sweep's decisions without Ray: the same seed asks for the same, a sweep killed anywhere ends as if it never was."""

from __future__ import annotations

import itertools
import json

import optuna
import pytest
from optuna.trial import TrialState
from pretend import Pretend, drive, outcome, search_space

from assay.config import space
from assay.store import trial_log
from assay.store.store import Store
from assay.sweeps.draw import trial_seed
from assay.sweeps.study import Study
from assay.sweeps.trial import checkpoint

SAMPLERS = ("tpe", "random", "nsga2", "grid", "qmc")
STOP = {"grace": 1, "reduction": 3}
LINES = {
    "ask": ("assignment", "parameters", "distributions", "attributes"),
    "report": ("epoch", "epochs", "values", "kept", "losses", "seed", "attempts", "seconds", "done", "model"),
    "retry": ("failure", "message"),
    "end": ("state", "failure", "message"),
}
"""Event -> the keys of its lines in the log, in order, between `event`, `trial` and `at`."""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_decides_what_is_asked_for(tmp_path, sampler):
    one, again = (drive(Study(search_space(tmp_path, sampler), Store(tmp_path / n)), Pretend()) for n in "ab")
    assert outcome(one) == outcome(again)
    other = search_space(tmp_path, sampler, search={"sampler": sampler, "trials": 8, "seed": 4, "startup": 3})
    assert outcome(drive(Study(other, Store(tmp_path / "c")), Pretend())) != outcome(one)


@pytest.mark.parametrize("objectives", [{"clean_auroc": "max"}, {"clean_auroc": "max", "robust_auroc": "max"}])
@pytest.mark.parametrize("stop", [None, STOP])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sweep_killed_anywhere_and_resumed_ends_as_one_that_was_not(tmp_path, sampler, stop, objectives):
    found = search_space(tmp_path, sampler, stop_early=stop, objectives=objectives)
    fails = (2,)
    whole = drive(Study(found, Store(tmp_path / "whole")), Pretend(fails))
    lines = whole.store.read("sweeps/toy/log/0000.jsonl").splitlines(keepends=True)
    states = [record.state for record in whole.records.values()]
    assert len(states) == (8 if sampler != "grid" else space.size(found.space))
    assert states.count("failed") == 1
    assert ("pruned" in states) == (stop is not None)
    for cut in range(1, len(lines)):
        store = Store(tmp_path / f"{cut}")
        half = lines[cut][: len(lines[cut]) // 2]
        store.write("sweeps/toy/log/0000.jsonl", b"".join(lines[:cut]) + (half if cut % 2 else b""))
        workers = Pretend(fails)
        for record in trial_log.records(trial_log.read(store, "toy")).values():
            if record.state == "running" and record.reports:
                workers.saved[record.number] = record.reports[-1]
        assert outcome(drive(Study(found, store), workers)) == outcome(whole), f"killed after {cut} events"


def test_lines_of_the_log_have_the_keys_that_later_versions_read(tmp_path):
    study = Study(search_space(tmp_path), Store(tmp_path))
    order = study.next_order()
    study.report(order.number, {"failure": "worker", "message": "gone"})
    drive(study, Pretend(fails=(1,)))
    lines = [json.loads(line) for line in study.store.read("sweeps/toy/log/0000.jsonl").splitlines()]
    assert lines[0].pop("format") == 1
    assert {line["event"] for line in lines} == set(LINES)
    for line in lines:
        assert tuple(line) == ("event", "trial", *LINES[line["event"]], "at")


def test_a_worker_ahead_of_the_log_tells_what_the_sweep_missed(tmp_path):
    found = search_space(tmp_path, stop_early=STOP)
    whole = drive(Study(found, Store(tmp_path / "whole")), Pretend())
    lines = whole.store.read("sweeps/toy/log/0000.jsonl").splitlines(keepends=True)
    missed = [n for n, line in enumerate(lines) if json.loads(line)["event"] == "report"]
    for cut in missed:
        store = Store(tmp_path / f"{cut}")
        store.write("sweeps/toy/log/0000.jsonl", b"".join(lines[:cut]))
        workers, lost = Pretend(), json.loads(lines[cut])
        workers.saved[lost["trial"]] = {k: v for k, v in lost.items() if k not in ("event", "trial", "at")}
        assert outcome(drive(Study(found, store), workers)) == outcome(whole)


def test_killing_again_and_again_changes_nothing(tmp_path):
    found = search_space(tmp_path, stop_early=STOP)
    whole = drive(Study(found, Store(tmp_path / "whole")), Pretend())
    store, workers, told = Store(tmp_path / "cut"), Pretend(), itertools.count()
    while True:
        study = Study(found, store)
        order = study.next_order()
        if order is None:
            break
        for report in itertools.islice(workers.reports(order), 1 + next(told) % 3):
            if study.report(order.number, report):
                break
        study.log.close()
    assert outcome(study) == outcome(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ends_are_told_to_the_sampler_for_what_they_are(tmp_path, sampler):
    study = drive(Study(search_space(tmp_path, sampler, stop_early=STOP), Store(tmp_path)), Pretend(fails=(1, 3)))
    means = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    for told in (study, Study(study.spec, study.store)):
        assert [t.state for t in told.study.trials] == [means[r.state] for r in told.records.values()]
        assert [t.params for t in told.study.trials] == [r.parameters for r in told.records.values()]
        for trial, record in zip(told.study.trials, told.records.values(), strict=True):
            assert trial.number == record.number
            assert trial.values == (list(record.values(study.objectives).values()) if trial.values else None)
    assert {record.state for record in study.records.values()} == {"complete", "pruned", "failed"}


@pytest.mark.parametrize("trials", [3, 8, 100])
def test_a_grid_is_gone_through_once(tmp_path, trials):
    found = search_space(tmp_path, "grid", trials)
    study = drive(Study(found, Store(tmp_path)), Pretend())
    seen = {json.dumps(record.parameters, sort_keys=True) for record in study.records.values()}
    assert len(seen) == len(study.records) == min(trials, 8) == found.trials
    assert study.ended
    assert study.next_order() is None
    assert Study(found, study.store).remaining == 0


def test_a_grid_with_trials_running_is_gone_through_once(tmp_path):
    study = Study(search_space(tmp_path, "grid", 100), Store(tmp_path))
    orders = [study.next_order() for _ in range(9)]
    assert orders[8] is None
    assert len({json.dumps(order.config, sort_keys=True) for order in orders[:8]}) == 8
    workers = Pretend()
    for order in reversed(orders[:8]):
        for report in workers.reports(order):
            study.report(order.number, report)
    assert study.ended


def test_sobol_points_are_spread_and_what_is_conditional_varies(tmp_path):
    study = drive(Study(search_space(tmp_path, "qmc", 17), Store(tmp_path)), Pretend())
    rates = [record.parameters["learning_rate"] for record in list(study.records.values())[1:]]
    assert len({rate < 0.01 for rate in rates}) == 2
    assert sum(rate < 0.01 for rate in rates) == 8
    areas = [r.parameters[a] for r in study.records.values() if (a := "pseudo_anomaly.cutpaste.area") in r.parameters]
    assert len(set(areas)) == len(areas) > 3


def test_the_search_learns(tmp_path):
    """TPE asks for better learning rates than chance once it has seen some, through ask, report and log alone."""

    class Known(Pretend):
        def reports(self, order):
            value = 1 - abs(order.config["learning_rate"] - 0.01) * 10
            for report in super().reports(order):
                report["kept"] = report["values"] = {"clean_auroc": value}
                report["kept"]["epoch"] = 1
                yield report

    means = {}
    for sampler in ("random", "tpe"):
        found = search_space(tmp_path, sampler, 30, objectives={"clean_auroc": "max"})
        study = drive(Study(found, Store(tmp_path / sampler)), Known())
        late = [record.kept["clean_auroc"] for record in study.records.values()][15:]
        means[sampler] = sum(late) / len(late)
    assert means["tpe"] > means["random"] + 0.05


def test_generations_of_nsga2_go_on_after_a_resume(tmp_path):
    study = drive(Study(search_space(tmp_path, "nsga2", 8), Store(tmp_path)), Pretend())
    again = Study(study.spec, study.store)
    notes = [{**trial.system_attrs} for trial in again.study.trials]
    assert [max(note.values()) for note in notes] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_an_order_is_whole_and_plain(tmp_path):
    study = Study(search_space(tmp_path), Store(tmp_path))
    order = study.next_order()
    assert json.loads(json.dumps(order.config)) == order.config
    assert order.config["epochs"] == 4
    assert order.seed == trial_seed(3, 0) != trial_seed(3, 1) != trial_seed(4, 0)
    assert (order.device, order.threads, order.number) == ("cpu", 1, 0)
    assert order.evaluation["attack"] == "fgsm"
    study.log.close()


def test_all_trials_meet_the_same_random_starts(tmp_path):
    """Their figures can be compared pairwise: only training has a seed of its own."""
    study = Study(search_space(tmp_path), Store(tmp_path))
    first, second = study.next_order(), study.next_order()
    study.log.close()
    assert first.seed != second.seed
    assert first.evaluation_seed == second.evaluation_seed == 3


def test_the_saved_state_goes_with_its_trial_unless_it_is_tried_again(tmp_path):
    study = Study(search_space(tmp_path, trials=4), Store(tmp_path))
    for number, (state, failure) in enumerate([("complete", ""), ("failed", "diverged"), ("failed", "store")]):
        order = study.next_order()
        study.report(number, next(Pretend().reports(order)))
        study.store.write(order.checkpoint, b"state")
        study.end(number, state, failure)
    study.next_order()
    study.store.write(checkpoint("toy", 3), b"state")
    study.log.close()
    assert study.store.names("sweeps/toy/checkpoints") == ["trial-00002.pt", "trial-00003.pt"]


def test_what_the_machine_broke_is_tried_again_on_a_resume_and_nothing_else(tmp_path):
    study = Study(search_space(tmp_path, trials=4), Store(tmp_path))
    for number, failure in enumerate(["worker", "diverged", "store", "bug"]):
        study.next_order()
        study.end(number, "failed", failure, "no")
    study.log.close()
    assert study.ended
    again = Study(study.spec, study.store)
    assert (again.remaining, again.ended) == (2, False)
    events = []
    again.listeners.append(lambda record, event: events.append((record.number, event, record.state)))
    drive(again, Pretend())
    assert [record.state for record in again.records.values()] == ["complete", "failed", "complete", "failed"]
    assert [record.failure for record in again.records.values()] == ["", "diverged", "", "bug"]
    assert events[0] == (0, "ask", "running")
    assert Study(study.spec, study.store).ended


def test_a_report_of_an_ended_trial_changes_nothing(tmp_path):
    study = Study(search_space(tmp_path), Store(tmp_path))
    order = study.next_order()
    [*reports] = Pretend().reports(order)
    assert [study.report(0, report) for report in reports] == [False, False, False, True]
    size = len(study.store.read("sweeps/toy/log/0000.jsonl"))
    assert study.report(0, reports[0])
    assert study.report(0, {"failure": "bug", "message": "late"})
    assert len(study.store.read("sweeps/toy/log/0000.jsonl")) == size
    study.log.close()


def test_a_trial_that_is_done_counts_in_the_rungs_it_passed_now_and_after_a_resume(tmp_path):
    found = search_space(tmp_path, stop_early={"grace": 3, "reduction": 2})
    study = Study(found, Store(tmp_path))
    order = study.next_order()
    whole = list(Pretend().reports(order))[-1]
    assert study.report(0, whole)
    study.log.close()
    assert study.halving.rungs.keys() == Study(found, study.store).halving.rungs.keys() == {3}


def test_listeners_hear_of_every_change(tmp_path):
    study, heard = Study(search_space(tmp_path, trials=1), Store(tmp_path)), []
    study.listeners.append(lambda record, event: heard.append((event, record.state, len(record.reports))))
    drive(study, Pretend())
    assert heard[0] == ("ask", "running", 0)
    assert heard[1:-1] == [("report", "running", n) for n in (1, 2, 3, 4)]
    assert heard[-1] == ("end", "complete", 4)


def test_optuna_says_nothing(tmp_path, capfd):
    drive(Study(search_space(tmp_path, "grid"), Store(tmp_path)), Pretend())
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR


def test_a_sweep_by_gaussian_processes_killed_and_resumed_ends_as_one_that_was_not(tmp_path):
    found = search_space(tmp_path, "gp", trials=6)
    whole = drive(Study(found, Store(tmp_path / "whole")), Pretend())
    lines = whole.store.read("sweeps/toy/log/0000.jsonl").splitlines(keepends=True)
    for cut in (len(lines) // 2, len(lines) - 3):
        store, workers = Store(tmp_path / f"{cut}"), Pretend()
        store.write("sweeps/toy/log/0000.jsonl", b"".join(lines[:cut]))
        for record in trial_log.records(trial_log.read(store, "toy")).values():
            if record.state == "running" and record.reports:
                workers.saved[record.number] = record.reports[-1]
        assert outcome(drive(Study(found, store), workers)) == outcome(whole)
