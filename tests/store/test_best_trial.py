"""The best trial: the rule of `best:`, and what counts as a tie."""

from __future__ import annotations

import numpy as np
import pytest
import toy_runs

from assay.config import reader
from assay.errors import SweepError
from assay.metrics.detection import auroc
from assay.store import best_trial, parquet
from assay.store.store import Store
from assay.store.trial_log import Record

IDS = [f"image-{n}" for n in range(200)]
LABELS = np.repeat([0, 1], 100)


def scores(shift: float, seed: int, common: int | None = None) -> np.ndarray:
    """Scores whose anomalies lie `shift` higher; `common` seeds a part that several detectors share."""
    own = np.random.default_rng(seed).normal(size=200)
    shared = np.random.default_rng(common).normal(size=200) if common is not None else 0
    return own * (0.1 if common is not None else 1) + shared + shift * LABELS


def record(number: int, clean: np.ndarray, attacked: np.ndarray, state: str = "complete") -> Record:
    kept = {"epoch": 1, "clean_auroc": auroc(LABELS, clean), "robust_auroc": auroc(LABELS, attacked)}
    return Record(number, {}, {}, {}, reports=[{"kept": kept}], state=state)


def choose(tmp_path, trials, groups=None, with_scores=True, **best):
    store = Store(tmp_path)
    spec = reader.check(toy_runs.search_space(tmp_path, best=best), "toy.yaml")
    records = {}
    for number, (clean, attacked) in enumerate(trials):
        records[number] = record(number, clean, attacked)
        if with_scores:
            table = best_trial.table(IDS, groups or IDS, LABELS, clean, attacked)
            store.write(best_trial.key("toy", number), parquet.dump(table))
    return best_trial.choose(store, spec, records)


def test_a_trial_that_leads_clearly_is_best_and_nothing_is_said(tmp_path):
    trials = [(scores(1.5, 1), scores(0.2, 2)), (scores(1.0, 3), scores(2.0, 4))]
    assert choose(tmp_path, trials, maximize="robust_auroc") == best_trial.Best(1)


def test_of_two_that_cannot_be_told_apart_the_next_objective_decides_and_that_is_said(tmp_path):
    robust = scores(1.0, 1)
    trials = [(scores(2.5, 2), robust), (scores(1.0, 3), robust + 0.001 * LABELS * (np.arange(200) % 7 == 0))]
    trials[1] = (trials[1][0], np.where(np.arange(200) == 150, 9.0, robust))  # better by one image
    found = choose(tmp_path, trials, maximize="robust_auroc")
    assert found.trial == 0
    assert found.said == "robust_auroc cannot be told apart between trials 1 and 0; clean_auroc decides."


def test_pairs_tell_apart_what_two_separate_intervals_cannot(tmp_path):
    trials = [(scores(2.0, 2), scores(0.8, 1, common=9)), (scores(1.0, 3), scores(1.1, 4, common=9))]
    gap = auroc(LABELS, trials[1][1]) - auroc(LABELS, trials[0][1])
    assert 0.02 < gap < 0.1  # far less than one interval is wide
    assert choose(tmp_path, trials, maximize="robust_auroc") == best_trial.Best(1)


def test_images_of_a_group_count_as_one(tmp_path):
    trials = [(scores(4.0, 2), scores(0.8, 1)), (scores(0.5, 3), scores(1.1, 4))]
    alike = [tuple(np.repeat(one[::10], 10) for one in trial) for trial in trials]  # ten views of each part
    assert choose(tmp_path, alike, maximize="robust_auroc") == best_trial.Best(1)
    found = choose(tmp_path, alike, [f"part-{n // 10}" for n in range(200)], maximize="robust_auroc")
    assert found.trial == 0
    assert "robust_auroc cannot be told apart" in found.said


def test_a_tie_in_everything_goes_to_the_higher_figure_and_is_said(tmp_path):
    one, other = scores(1.0, 1), scores(1.0, 1)
    other[150] += 5
    lower = one.copy()
    lower[160] += 5
    found = choose(tmp_path, [(one, other), (lower, one)], maximize="mean")
    assert "Nothing tells trials" in found.said


def test_a_bound_comes_before_what_is_maximised(tmp_path):
    trials = [(scores(0.5, 1), scores(2.0, 2)), (scores(2.5, 3), scores(1.9, 4))]
    assert choose(tmp_path, trials, maximize="robust_auroc", at_least={"clean_auroc": 0.9}).trial == 1


def test_without_scores_the_figures_alone_decide(tmp_path):
    robust = scores(1.0, 1)
    trials = [(scores(2.5, 2), robust), (scores(1.0, 3), np.where(np.arange(200) == 150, 9.0, robust))]
    assert choose(tmp_path, trials, with_scores=False, maximize="robust_auroc") == best_trial.Best(1)


def test_a_sweep_without_a_complete_trial_has_no_best(tmp_path):
    spec = reader.check(toy_runs.search_space(tmp_path), "toy.yaml")
    with pytest.raises(SweepError, match="no complete trial"):
        best_trial.choose(Store(tmp_path), spec, {0: record(0, scores(1, 1), scores(1, 2), "pruned")})


def test_a_figure_without_scores_decides_alone(tmp_path):
    robust, wanted = scores(1.0, 1), {"clean_auroc": "max", "certified_auroc": "max"}
    spec = reader.check(toy_runs.search_space(tmp_path, objectives=wanted, best={"maximize": "certified_auroc"}), "t")
    store, records = Store(tmp_path), {}
    for number, proven in enumerate((0.5, 0.501)):
        kept = {"epoch": 1, "clean_auroc": 0.9 - proven / 10, "certified_auroc": proven}
        records[number] = Record(number, {}, {}, {}, reports=[{"kept": kept}], state="complete")
        store.write(best_trial.key("toy", number), parquet.dump(best_trial.table(IDS, IDS, LABELS, robust, robust)))
    assert best_trial.choose(store, spec, records) == best_trial.Best(1)
