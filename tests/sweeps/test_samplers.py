"""A long sweep's sampler looks at a bounded part of its trials: one that follows from how they stand."""

from __future__ import annotations

import random

import optuna
import pytest
import toy_runs
from pretend import Pretend, drive, outcome, search_space

from assay.config import reader
from assay.store import trial_log
from assay.store.store import Store
from assay.sweeps import draw
from assay.sweeps.draw import TrialWindow
from assay.sweeps.samplers import _windowed
from assay.sweeps.samplers.tpe import tpe
from assay.sweeps.study import Study


@pytest.fixture
def small(monkeypatch):
    """A history that is soon too long."""
    monkeypatch.setattr(draw, "ENDED", 6)
    monkeypatch.setattr(draw, "RUNNING", 2)


@pytest.fixture
def looked_at(monkeypatch):
    """How many trials TPE was shown, at each ask."""
    counts = []

    class Counted(_windowed.Part):
        def __init__(self, *given):
            super().__init__(*given)
            counts.append(len(self.shown))

    monkeypatch.setattr(_windowed, "Part", Counted)
    return counts


def test_a_short_history_is_shown_whole():
    found = TrialWindow(ended=6, running=2)
    for number, state in enumerate(["running", "complete", "pruned", "failed", "running"]):
        found.note(number, "running")
        found.note(number, state, (0.5, 0.5) if state == "complete" else ())
    assert found.shown() == [0, 1, 2, 4]


def test_of_a_long_one_the_best_and_the_newest_are_shown():
    found = TrialWindow(ended=6, running=2)
    for number in range(20):
        found.note(number, "complete", (1.0 - number / 100,))  # the first are the best
    for number in range(20, 26):
        found.note(number, "pruned")
    for number in range(26, 30):
        found.note(number, "running")
    assert found.shown() == [0, 1, 2, 23, 24, 25, 28, 29]


def test_what_is_shown_does_not_depend_on_the_order_in_which_trials_ended():
    dice = random.Random(0)
    ends = [(n, dice.choice(["complete", "pruned", "failed"]), (dice.random(), dice.random())) for n in range(40)]
    shown = []
    for _ in range(5):
        found = TrialWindow(ended=8, running=2)
        for number, state, point in ends:
            found.note(number, state, point)
        shown.append(found.shown())
        dice.shuffle(ends)
    assert shown == [shown[0]] * 5
    assert len(shown[0]) == 8


@pytest.mark.parametrize("objectives", [{"clean_auroc": "max"}, {"clean_auroc": "max", "robust_auroc": "max"}])
def test_a_sampler_of_a_long_sweep_looks_at_a_bounded_number_of_trials(tmp_path, small, looked_at, objectives):
    drive(Study(search_space(tmp_path, trials=30, objectives=objectives), Store(tmp_path)), Pretend(fails=(2,)))
    assert len(looked_at) == 30
    assert max(looked_at) == 6


@pytest.mark.parametrize("objectives", [{"clean_auroc": "max"}, {"clean_auroc": "max", "robust_auroc": "max"}])
def test_below_the_bound_it_asks_for_what_optunas_own_tpe_asks_for(tmp_path, monkeypatch, objectives):
    found = search_space(tmp_path, trials=20, objectives=objectives)
    ours = drive(Study(found, Store(tmp_path / "ours")), Pretend())

    def plain(spec, number, history, attempt):
        seed = draw.trial_seed(spec.search.seed + 1, number)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=spec.search.startup, multivariate=True, group=True
        )

    monkeypatch.setattr("assay.sweeps.study.sampler", plain)
    assert outcome(drive(Study(found, Store(tmp_path / "plain")), Pretend())) == outcome(ours)


@pytest.mark.parametrize("stop", [None, {"grace": 1, "reduction": 3}])
def test_a_long_sweep_that_is_killed_and_resumed_ends_as_one_that_was_not(tmp_path, small, looked_at, stop):
    found = search_space(tmp_path, trials=16, stop_early=stop)
    whole = drive(Study(found, Store(tmp_path / "whole")), Pretend())
    assert max(looked_at) < 16 - 1
    lines = whole.store.read("sweeps/toy/log/0000.jsonl").splitlines(keepends=True)
    for cut in range(len(lines) // 2, len(lines), 5):
        store, workers = Store(tmp_path / f"{cut}"), Pretend()
        store.write("sweeps/toy/log/0000.jsonl", b"".join(lines[:cut]))
        for record in trial_log.records(trial_log.read(store, "toy")).values():
            if record.state == "running" and record.reports:
                workers.saved[record.number] = record.reports[-1]
        assert outcome(drive(Study(found, store), workers)) == outcome(whole), f"killed after {cut} events"


def test_more_startup_trials_than_the_bound_are_no_endless_startup(tmp_path, small):
    raw = toy_runs.search_space(tmp_path, search={"sampler": "tpe", "trials": 12, "seed": 3, "startup": 9})
    study = drive(Study(reader.check(raw, "toy.yaml"), Store(tmp_path)), Pretend())
    assert len(study.window.shown()) == 9


def test_a_draw_that_was_tried_is_followed_by_others_of_the_good_ones(tmp_path):
    """One row of a square of 36 is good: at first its favourite is drawn, then more of that row, and little else."""
    square = dict.fromkeys("ab", optuna.distributions.CategoricalDistribution(range(6)))
    storage, window = draw.Redrawable(), TrialWindow(500, 200)
    study = optuna.create_study(storage=storage, direction="maximize")
    for number in range(36):
        a, b = divmod(number, 6)
        value = 10.0 + b if a == 2 else float(b)
        study.add_trial(optuna.create_trial(params={"a": a, "b": b}, distributions=square, values=[value]))
        window.note(number, "complete", (value,))

    def drawn(attempt: int) -> list[tuple[int, int]]:
        found = []
        for seed in range(60):
            study.sampler = tpe(draw.Draw(36, seed, 0, 3, window, attempt))
            trial = study.ask(square)
            found.append((trial.params["a"], trial.params["b"]))
            storage.take_back(study)
        return found

    first, last = drawn(0), drawn(7)
    assert len(set(last)) > 2 * len(set(first))
    assert sum(a == 2 for a, _ in last) > 2 * len(last) / 6, "more often than by chance"
