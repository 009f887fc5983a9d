"""The best configuration is trained with other seeds before it is called best, and judged by their mean."""

from __future__ import annotations

import json

import pytest
import toy_runs
import yaml
from click.testing import CliRunner
from pretend import Pretend, drive, search_space
from ray.tune.search import Searcher

from assay.cli import main
from assay.config import reader
from assay.data import splits
from assay.errors import SweepError
from assay.models import model_folder
from assay.store import best_trial, seeds, trial_log, trials_table
from assay.store.growth import growth
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial, TrialConfig
from assay.sweeps.tune_adapters import StudySearcher


class ByPlan(Pretend):
    """Trials whose last figures are planned: trial -> value of both objectives; any other has 0.1 plus its number."""

    def __init__(self, plan: dict[int, float], stop_after: int = 10**9, **given) -> None:
        super().__init__(**given)
        self.plan, self.left = plan, stop_after

    def reports(self, order):
        for report in super().reports(order):
            if "epoch" not in report:
                yield report
                continue
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            values = dict.fromkeys(order.objectives, self.plan.get(order.number, 0.1 + order.number / 1000))
            report |= {"values": values, "kept": {"epoch": report["epoch"], **values}}
            yield report


def spec(tmp_path, wanted=3, **changes):
    return search_space(tmp_path, trials=4, **{"seeds": wanted, **changes})


@pytest.fixture(autouse=True)
def no_models(monkeypatch):
    """Trials that pretend write no model; what would stand in its manifest is in the log as well."""
    monkeypatch.setattr(model_folder, "amended", lambda store, name, more: f"{name}+seeds")


def asked(study: Study) -> list[tuple[int, int | None]]:
    return [(record.number, record.repeats) for record in study.records.values()]


def test_the_best_is_trained_with_other_seeds(tmp_path):
    study = drive(Study(spec(tmp_path), Store(tmp_path)), ByPlan({2: 0.9, 4: 0.8, 5: 0.7}))
    assert asked(study) == [(0, None), (1, None), (2, None), (3, None), (4, 2), (5, 2)]
    assert study.records[4].assignment == study.records[5].assignment == study.records[2].assignment
    assert len({study.records[n].reports[-1]["seed"] for n in (2, 4, 5)}) == 3
    assert (study.remaining, study.ended) == (0, True)
    study.settle()
    told = study.records[2].seeds
    assert (told["trained"], told["trials"], told["failed"]) == (3, [2, 4, 5], [])
    assert told["mean"]["robust_auroc"] == pytest.approx(0.8)
    assert told["worst"]["robust_auroc"] == 0.7
    assert told["sd"]["robust_auroc"] == pytest.approx(0.1)
    assert study.records[2].reports[-1]["model"] == "m+seeds"


def test_one_that_was_only_lucky_is_not_called_best(tmp_path):
    """Its mean falls below another's, which is then trained with other seeds, too."""
    store, found = Store(tmp_path), spec(tmp_path)
    study = drive(Study(found, store), ByPlan({2: 0.9, 4: 0.3, 5: 0.3, 1: 0.8, 6: 0.8, 7: 0.7}))
    assert asked(study)[4:] == [(4, 2), (5, 2), (6, 1), (7, 1)]
    assert best_trial.choose(store, found, study.records).trial == 1
    assert trials_table.pareto(found.directions, study.records) == [1]
    assert seeds.averaged(study.records, found.directions)[2]["clean_auroc"] == pytest.approx(0.5)


class Apart(ByPlan):
    """The same, with a clean AUROC that falls as the robust one rises, so that several trials are on the front."""

    def reports(self, order):
        for report in super().reports(order):
            figures = {**report["values"], "clean_auroc": 1 - report["values"]["robust_auroc"]}
            yield {**report, "values": figures, "kept": {"epoch": report["epoch"], **figures}}


def test_all_of_the_front_may_be_trained_with_other_seeds(tmp_path):
    """Of four trials on the front each is trained once more, in the order of the trials, and each manifest says so."""
    plan = {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 0.2, 5: 0.4, 6: 0.6, 7: 0.8}
    whole = spec(tmp_path, wanted=2, seeds_of="front")
    study = drive(Study(whole, Store(tmp_path)), Apart(plan))
    assert asked(study)[4:] == [(4, 0), (5, 1), (6, 2), (7, 3)]
    assert study.ended
    study.settle()
    assert [study.records[n].seeds["trials"] for n in range(4)] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    study.log.close()
    again = Study(whole, Store(tmp_path))
    assert (again.remaining, again.ended) == (0, True)
    again.settle()
    assert [event["event"] for event in trial_log.read(Store(tmp_path), "toy")].count("seeds") == 4


def test_what_comes_to_the_front_by_the_means_is_trained_with_other_seeds_too(tmp_path):
    """Trial 1 is dominated by trial 2 until the other seed shows that trial 2 was lucky."""
    plan = {0: 0.1, 1: 0.8, 2: 0.9, 3: 0.2, 4: 0.3, 5: 0.7}
    study = drive(Study(spec(tmp_path, wanted=2, seeds_of="front"), Store(tmp_path)), ByPlan(plan))
    assert asked(study)[4:] == [(4, 2), (5, 1)]


def test_the_front_may_come_later_but_not_go(tmp_path):
    best, front = spec(tmp_path), spec(tmp_path, seeds_of="front")
    assert growth(best, front) == ["seeds_of: best -> front"]
    with pytest.raises(SweepError, match="seeds_of is best, fewer trials than the front of before"):
        growth(front, best)


def test_a_sweep_of_one_seed_trains_nothing_again(tmp_path):
    study = drive(Study(spec(tmp_path, wanted=1), Store(tmp_path)), ByPlan({2: 0.9}))
    assert asked(study) == [(n, None) for n in range(4)]
    study.settle()
    assert study.records[2].seeds == {}


@pytest.mark.parametrize("after", range(1, 25))
def test_a_sweep_killed_anywhere_ends_as_an_undisturbed_one(tmp_path, after):
    plan = {2: 0.9, 4: 0.3, 5: 0.3, 1: 0.8, 6: 0.8, 7: 0.7}
    whole = drive(Study(spec(tmp_path), Store(tmp_path / "whole")), ByPlan(plan))
    store, workers = Store(tmp_path / "killed"), ByPlan(plan, stop_after=after)
    study = Study(spec(tmp_path), store)
    with pytest.raises(KeyboardInterrupt):
        drive(study, workers)
    study.log.close()
    workers.left = 10**9
    again = drive(Study(spec(tmp_path), store), workers)
    assert asked(again) == asked(whole)
    assert [r.kept for r in again.records.values()] == [r.kept for r in whole.records.values()]
    again.settle()
    read = trial_log.records(trial_log.read(store, "toy"))
    assert read[1].seeds == again.records[1].seeds
    assert read[1].reports[-1]["model"] == "m+seeds"


def test_a_sweep_killed_before_it_told_the_seeds_tells_them_when_resumed_and_once(tmp_path):
    store = Store(tmp_path)
    drive(Study(spec(tmp_path), store), ByPlan({2: 0.9}))
    for _ in range(2):
        study = Study(spec(tmp_path), store)
        assert study.remaining == 0
        study.settle()
        study.log.close()
    assert [event["event"] for event in trial_log.read(store, "toy")].count("seeds") == 1


def test_repeats_are_never_stopped_early_and_count_in_no_rung(tmp_path):
    stop = {"grace": 1, "reduction": 2}
    plan = {0: 0.5, 1: 0.4, 2: 0.9, 3: 0.3, 4: 0.01, 5: 0.02}
    study = drive(Study(spec(tmp_path, stop_early=stop), Store(tmp_path)), ByPlan(plan))
    assert [study.records[n].state for n in (4, 5)] == ["complete", "complete"]
    assert study.records[3].state == "pruned"
    again = Study(spec(tmp_path, stop_early=stop), Store(tmp_path))
    assert again.halving.stopped == study.halving.stopped == {1, 3}


def test_a_repeat_that_fails_is_told_and_not_trained_for_ever(tmp_path):
    study = drive(Study(spec(tmp_path), Store(tmp_path)), ByPlan({2: 0.9, 5: 0.85}, fails=(4,)))
    assert asked(study)[4:] == [(4, 2), (5, 2)]
    study.settle()
    assert (study.records[2].seeds["trained"], study.records[2].seeds["failed"]) == (2, [4])


def test_a_sweep_with_repeats_may_grow(tmp_path):
    store = Store(tmp_path)
    drive(Study(spec(tmp_path), store), ByPlan({2: 0.9, 4: 0.8, 5: 0.8}))
    more = search_space(tmp_path, trials=6, seeds=4)
    assert growth(spec(tmp_path), more) == ["search.trials: 4 -> 6", "seeds: 3 -> 4"]
    grown = drive(Study(more, store), ByPlan({2: 0.9, 4: 0.8, 5: 0.8, 8: 0.8}))
    assert asked(grown)[6:] == [(6, None), (7, None), (8, 2)]
    with pytest.raises(SweepError, match="seeds is 2, fewer than the 4 of before"):
        growth(more, spec(tmp_path, wanted=2))


def test_while_repeats_train_their_configuration_counts_by_its_own_figures(tmp_path):
    study = drive(Study(spec(tmp_path), Store(tmp_path)), ByPlan({2: 0.9, 4: 0.1, 5: 0.1}))
    records: dict[int, Record] = study.records
    records[5].state = "running"
    assert seeds.averaged(records, study.objectives)[2]["clean_auroc"] == 0.9
    assert str(seeds.spread(records, 2, study.objectives)["clean_auroc"]) == "0.900, worst 0.900"
    records[5].state = "complete"
    assert str(seeds.spread(records, 2, study.objectives)["clean_auroc"]) == "0.367 ± 0.462, worst 0.100"


def test_the_manifest_of_the_best_model_says_what_its_seeds_came_to(tmp_path, monkeypatch):
    """With trials that really train."""
    monkeypatch.undo()
    raw = toy_runs.search_space(tmp_path, search={"trials": 2, "sampler": "random"}, seeds=2)
    found, store = reader.check(raw, "toy.yaml"), Store(tmp_path / "store")
    store.write("sweeps/toy/spec.yaml", yaml.safe_dump(found.plain()).encode())
    data, study = splits.training_data(found.dataset.function(**found.dataset.arguments())), Study(found, store)
    while order := study.next_order():
        running = Trial(order, data, store)
        while not study.report(order.number, running.step()):
            pass
    study.settle()
    study.log.close()
    best = best_trial.choose(store, found, study.records).trial
    model = study.records[best].reports[-1]["model"]
    manifest = model_folder.load(store, model).manifest
    assert manifest["seeds"] == json.loads(json.dumps(study.records[best].seeds))
    assert manifest["seeds"]["trained"] == 2
    values = [study.records[n].kept["robust_auroc"] for n in manifest["seeds"]["trials"]]
    assert manifest["seeds"]["worst"]["robust_auroc"] == min(values)
    assert manifest["sweep"]["trial"] == best
    told = CliRunner().invoke(main, ["trials", "toy", "--store", str(store.root)], env={"COLUMNS": "200"})
    assert f"trial {best} was trained with 2 seeds (trials {best}, 2): clean_auroc " in told.stdout
    assert f"trial 2: trial {best} again with another seed" in told.stdout
    rows = json.loads(CliRunner().invoke(main, ["trials", "toy", "--json", "--store", str(store.root)]).stdout)
    assert [row.get("repeats") for row in rows] == [None, None, best]
    assert rows[best]["seeds"]["trained"] == 2


def test_ray_tune_waits_for_the_search_to_end_and_then_gets_the_other_seeds_together(tmp_path):
    study, workers = Study(spec(tmp_path), Store(tmp_path)), ByPlan({2: 0.9, 4: 0.8, 5: 0.8})
    searcher = StudySearcher(study)

    def run(name: str, order: TrialConfig) -> None:
        for report in workers.reports(order):
            study.report(order.number, report)
        searcher.on_trial_complete(name, {})

    orders = {name: TrialConfig(**searcher.suggest(name)["order"]) for name in "abcd"}
    for name, order in orders.items():
        assert searcher.suggest("e") is None, "while a trial runs, nobody knows which is best"
        run(name, order)
    again = {name: TrialConfig(**searcher.suggest(name)["order"]) for name in "ef"}
    assert [order.number for order in again.values()] == [4, 5]
    assert searcher.suggest("g") is None
    for name, order in again.items():
        run(name, order)
    assert searcher.suggest("g") == Searcher.FINISHED
    assert study.ended
