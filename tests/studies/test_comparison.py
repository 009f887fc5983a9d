"""Detectors compared over datasets: differences, Holm's correction, ranks, and the page of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from toy_study import RAW

from assay.metrics.detection import auroc
from assay.reports import study_page
from assay.store.best_trial import Scores
from assay.studies import comparison, results, study_file
from assay.studies.results import Result

LABELS = np.repeat([0, 1], 60)


def study(**changes):
    detectors = {name: {"trainable": "toy_runs:Runs"} for name in ("good", "alike", "bad")}
    return study_file.check({**RAW, "detectors": detectors, **changes}, "few.yaml")


def result(cell, missing: str = "") -> Result:
    """Scores of a cell: all detectors share most of their noise, `bad` sees less of the defect."""
    if missing:
        return Result(cell, {}, {}, None, missing=missing)
    shared = np.random.default_rng(len(cell.dataset) + (cell.dataset == "two")).normal(size=120)
    own = np.random.default_rng([len(cell.detector), cell.seed]).normal(size=120)
    scores = shared + 0.1 * own + LABELS * (0.3 if cell.detector == "bad" else 1.2)
    columns = {"clean_score": scores, "adversarial_score": scores - 0.2 * LABELS}
    figures = {"clean_auroc": auroc(LABELS, scores), "robust_auroc": auroc(LABELS, columns["adversarial_score"])}
    bounds = {name: (value - 0.1, value + 0.1) for name, value in figures.items()}
    ids = tuple(f"{cell.dataset}-{n}" for n in range(120))
    return Result(cell, figures, bounds, Scores(ids, LABELS, None, columns), 1.5, 0.2, 0, "m")


def test_pairs_are_told_apart_on_the_same_images_and_no_others():
    found = [result(cell) for cell in study().cells]
    pairs = {(d.a, d.b): d for d in comparison.differences(found, "robust_auroc")}
    assert set(pairs) == {("good", "alike"), ("good", "bad"), ("alike", "bad")}
    assert pairs["good", "bad"].lower > 0
    assert pairs["good", "bad"].p < 0.001
    assert pairs["good", "bad"].datasets == 2
    assert pairs["good", "alike"].lower < 0 < pairs["good", "alike"].upper
    assert pairs["good", "alike"].p > 0.05
    mean = np.mean(
        [
            r.values["robust_auroc"] * (1 if r.cell.detector == "good" else -1) * 2
            for r in found
            if r.cell.detector != "alike"
        ]
    )
    assert pairs["good", "bad"].value == pytest.approx(mean)


def test_the_spread_between_seeds_widens_the_interval():
    cells = study().cells
    calm = [result(cell) for cell in cells]
    restless = []
    for one in calm:
        shift = 0.4 * LABELS if (one.cell.detector, one.cell.seed) == ("good", 5) else 0
        columns = {name: column - shift for name, column in one.scores.columns.items()}
        restless.append(Result(one.cell, one.values, {}, Scores(one.scores.samples, LABELS, None, columns)))
    wide = [
        d.upper - d.lower
        for c in (calm, restless)
        for d in comparison.differences(c, "clean_auroc")
        if (d.a, d.b) == ("good", "alike")
    ]
    assert wide[1] > 1.5 * wide[0]


def test_a_cell_without_scores_is_left_out_of_its_pairs():
    found = [result(cell, "broke" if (cell.detector, cell.dataset) == ("bad", "two") else "") for cell in study().cells]
    pairs = {(d.a, d.b): d.datasets for d in comparison.differences(found, "clean_auroc")}
    assert pairs == {("good", "alike"): 2, ("good", "bad"): 1, ("alike", "bad"): 1}
    assert comparison.ranks(found, "clean_auroc", "max") is None  # one dataset is left


def test_holms_correction():
    assert comparison.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert comparison.holm([0.9, 0.8]) == [1.0, 1.0]
    assert comparison.holm([]) == []


def test_ranks_and_the_critical_difference_of_nemenyi():
    found = [result(cell) for cell in study().cells]
    ranks = comparison.ranks(found, "clean_auroc", "max")
    assert ranks.mean["bad"] == 3
    assert sum(ranks.mean.values()) == pytest.approx(6)
    assert ranks.critical == pytest.approx(2.343 * (12 / 12) ** 0.5, abs=0.002)  # Demsar 2006, table 5: q 2.343 for k 3
    assert comparison.ranks(found, "clean_auroc", "min").mean["bad"] == 1


def test_the_page_says_who_leads_what_is_missing_and_why_and_the_table_holds_it():
    few = study()
    found = [result(cell, "no <images>" if (cell.detector, cell.seed) == ("alike", 5) else "") for cell in few.cells]
    page = study_page.render(few, found)
    assert page == study_page.render(few, found)
    for needle in (
        "good less bad",
        "Holm for 3 pairs",
        "(1 of 2 seeds)",
        "no &lt;images&gt;",
        "few--good--one--0:best",
    ):
        assert needle in page, needle
    linked = study_page.render(few, found, {"m": "0123-quick"})
    assert '<a href="../../audits/0123-quick/report.html">audit 0123-quick</a>' in linked
    assert "<a href" not in page
    assert "<script" not in page
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page).replace("http-equiv", "")
    rows = results.table(few, found).to_pylist()
    assert len(rows) == len(few.cells) * 2
    assert [row["missing"] for row in rows if row["detector"] == "alike" and row["seed"] == 5] == ["no <images>"] * 4
    assert all(np.isnan(row["value"]) == bool(row["missing"]) for row in rows)
