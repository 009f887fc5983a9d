"""Two audits compared sample by sample: what counts as a regression, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from assay import shelves
from assay.errors import DataError, InputError
from assay.metrics import bootstrap, detection, paired_comparison
from assay.store.audit_reader import Audit


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(paired_comparison, "REPLICATES", 600)
    monkeypatch.setattr(bootstrap, "MOST", 600)


@pytest.fixture
def variant(pristine_audit_folder, tmp_path):
    """A function: name, what becomes of each row of scores, what changes in audit.yaml -> another audit."""

    def variant(name, change=lambda row: row, **about) -> Audit:
        folder = Path(shutil.copytree(pristine_audit_folder, tmp_path / name))
        for part in folder.glob("scores/*/*.parquet"):
            rows = [new for row in pq.ParquetFile(part).read().to_pylist() if (new := change(row))]
            pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(part)), part)
        info = yaml.safe_load((folder / "audit.yaml").read_text())
        (folder / "audit.yaml").write_text(yaml.safe_dump({**info, "audit": name, **about}))
        return Audit(folder)

    return variant


def weaker(row):
    """The attacker moves every score a bit further."""
    return {**row, "adversarial_score": row["adversarial_score"] + 0.06 * row["direction"]}


def figure(found, attack="worst", norm="linf", epsilon=2 / 255, metric="auroc", defect="all"):
    [only] = [
        row
        for row in found.figures
        if (row.attack, row.norm, row.metric, row.defect) == (attack, norm, metric, defect)
        and abs(row.epsilon - epsilon) < 1e-9
    ]
    return only


def test_the_same_scores_have_no_difference_and_no_regression(variant):
    found = paired_comparison.compare(variant("a"), variant("b"))
    assert not found.regression
    assert {getattr(row, key) for row in found.figures for key in ("difference", "lower", "upper")} == {0.0}
    assert found.left_out == []
    assert (found.normals, found.anomalies) == (30, 30)


def test_a_model_that_every_attack_moves_further_has_regressed(variant):
    a, b = variant("a"), variant("b", weaker)
    found = paired_comparison.compare(a, b)
    assert found.regression
    row = figure(found)
    assert row.regressed
    assert row.lower < row.difference < row.upper < 0
    alone = [detection.figures(*worst(audit), threshold=0.55)["auroc"] for audit in (a, b)]
    assert alone[0].lower < alone[1].upper, "two separate intervals overlap and show nothing"
    assert row.difference == pytest.approx(alone[1].value - alone[0].value)
    clean = figure(found, "clean", "", 0.0)
    assert (clean.difference, clean.regressed) == (0, False)
    assert not paired_comparison.compare(b, a).regression, "the other way round it is better"
    assert not any(row.regressed for row in found.figures if not row.headline)


def worst(audit):
    """Labels and the worst scores at linf 2/255, by pandas."""
    rows = pa.concat_tables(pq.read_table(part) for part in sorted(audit.folder.path().glob("scores/*-linf/*.parquet")))
    table = rows.to_pandas()
    table["reach"] = table.direction * table.adversarial_score
    found = (
        table[table.epsilon <= 2 / 255]
        .groupby("sample")
        .agg({"reach": "max", "label": "first", "direction": "first", "clean_score": "first"})
    )
    moved = np.maximum(found.reach, found.direction * found.clean_score)
    return found.label.to_numpy(), (found.direction * moved).to_numpy()


def test_intervals_are_those_of_a_plain_paired_loop(variant, monkeypatch):
    monkeypatch.setattr(paired_comparison, "REPLICATES", 2000)
    monkeypatch.setattr(bootstrap, "MOST", 2000)
    a, b = variant("a"), variant("b", weaker)
    row = figure(paired_comparison.compare(a, b), "pgd-linf")
    [setting] = [s for s in a.matrix.settings if s[:2] == ("pgd-linf", "linf") and abs(s.epsilon - 2 / 255) < 1e-9]
    scores = [audit.matrix.values["adversarial_score"][setting] for audit in (a, b)]
    labels, rng = a.matrix.labels, np.random.default_rng(1)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    looped = []
    for _ in range(2000):
        drawn = np.concatenate([rng.choice(of, len(of)) for of in classes])
        before, after = (detection.auroc(labels[drawn], values[drawn]) for values in scores)
        looped.append(after - before)
    assert (row.lower, row.upper) == pytest.approx(tuple(np.quantile(looped, [0.025, 0.975])), abs=0.01)
    assert row.confidence == 0.95


def test_tested_figures_share_the_error_and_the_margin_forgives(variant):
    a, b = variant("a"), variant("b", weaker)
    found = paired_comparison.compare(a, b)
    tested = [row for row in found.figures if row.headline]
    assert len(tested) == 3 * (1 + 6), "three metrics, clean and at six budgets"
    assert {row.attack for row in tested} == {"clean", "worst"}
    assert {row.confidence for row in tested} == {1 - 0.05 / len(tested)}
    assert "Bonferroni over 21" in found.multiplicity
    assert not paired_comparison.compare(a, b, margin=0.9).regression


def test_rates_are_at_each_one_s_own_threshold_and_more_errors_are_a_regression(variant):
    a = variant("a")
    b = variant("b", threshold={**a.info["threshold"], "value": 0.9})
    found = paired_comparison.compare(a, b)
    missed, alarms = (figure(found, "clean", "", 0.0, metric) for metric in ("miss_rate", "false_alarm_rate"))
    assert missed.regressed
    assert missed.lower > 0
    assert alarms.difference <= 0
    assert not alarms.regressed
    assert figure(found).difference == 0


def test_only_what_both_have_counts_also_in_the_worst_case(variant):
    a = variant("a")
    entries = a.info["suite"]["attacks"]
    longer = [{**entry, "parameters": {"steps": 9}} if entry["name"] == "pgd-l2" else entry for entry in entries]
    b = variant(
        "b",
        lambda row: None if row["attack"] == "pgd-linf" and row["epsilon"] > 3 / 255 else row,
        suite={**a.info["suite"], "attacks": longer},
    )
    found = paired_comparison.compare(a, b)
    assert [reason for reason in found.left_out if "pgd-linf" in reason] == ["pgd-linf at linf 4/255: only in a"]
    assert sum("pgd-l2 at l2" in reason and "parameters differ" in reason for reason in found.left_out) == 3
    assert {row.difference for row in found.figures} == {0.0}, "a is not blamed for an attack that b was spared"


def test_what_cannot_be_compared_is_named(variant):
    a = variant("a")
    with pytest.raises(InputError, match="both are audit a"):
        paired_comparison.compare(a, a)
    with pytest.raises(InputError, match=r"different datasets, elpv \(dddddddddddd\) and elpv \(eeee"):
        paired_comparison.compare(a, variant("b", dataset={**a.info["dataset"], "hash": "e" * 64}))
    few = variant("few", lambda row: row if row["sample"] > "cell0005.png" else None, limit=9)
    with pytest.raises(InputError, match=r"\d+ are only in a \(limit none\), 0 are only in few \(limit 9\)"):
        paired_comparison.compare(a, few)
    others = [{**entry, "parameters": {}} for entry in a.info["suite"]["attacks"]]
    with pytest.raises(InputError, match="no attack in common: a is by suite standard and other is by suite mine"):
        paired_comparison.compare(a, variant("other", suite={**a.info["suite"], "name": "mine", "attacks": others}))


def test_the_report_shows_the_comparison(variant):
    a, b = variant("a"), variant("b", weaker)
    show = shelves.load("sections", "comparison")
    assert "assay compare APPROVED b" in show(b).html
    found = paired_comparison.compare(a, b)
    b.folder.write("comparison.json", json.dumps(found.to_json()).encode())
    html = show(Audit(b.folder)).html
    assert "Regression</strong> against audit" in html
    assert f"{figure(found).difference:.3f}" in html
    assert html.count("✕") == sum(row.regressed for row in found.figures)
    a.folder.write("comparison.json", json.dumps(found.to_json()).encode())
    with pytest.raises(DataError, match="is not of this audit"):
        show(Audit(a.folder))


def test_the_keys_of_the_file_stay_as_they_were(variant):
    written = paired_comparison.compare(variant("a"), variant("b", weaker)).to_json()
    assert list(written) == [
        "format", "a", "b", "regression", "margin", "confidence", "multiplicity", "replicates", "seed", "samples",
        "left_out", "figures",
    ]  # fmt: skip
    assert list(written["b"]) == ["audit", "model", "suite", "threshold", "failed_checks"]
    assert written["samples"] == {"normals": 30, "anomalies": 30}
    assert list(written["figures"][0]) == [
        "attack", "norm", "epsilon", "regime", "defect", "metric", "a", "b", "headline", "difference", "lower", "upper",
        "confidence", "regressed",
    ]  # fmt: skip


def test_the_same_scores_are_shown_to_be_not_inferior(variant):
    found = paired_comparison.compare(variant("a"), variant("b"), non_inferior=0.01)
    assert (found.answer, found.not_shown) == ("not inferior", [])
    assert found.to_json()["answer"] == "not inferior"


def test_no_regression_found_is_no_evidence_of_non_inferiority(variant):
    """Scores that differ by noise: few images cannot show that the difference is below a small margin."""
    random = np.random.default_rng(0)
    noisy = variant("b", lambda row: {**row, "adversarial_score": row["adversarial_score"] + random.normal(0, 0.004)})
    found = paired_comparison.compare(variant("a"), noisy, non_inferior=0.0002)
    assert not found.regression
    assert found.answer == "not shown"
    assert all(figure.headline and figure.worst >= 0.0002 for figure in found.not_shown)
    assert paired_comparison.EXIT_CODES[found.answer] == 5


def test_a_regression_is_a_regression_whatever_was_asked(variant):
    assert paired_comparison.compare(variant("a"), variant("b", weaker), non_inferior=0.5).answer == "regression"


def test_resamples_grow_with_the_confidence_of_a_tested_figure(variant, monkeypatch):
    monkeypatch.setattr(bootstrap, "MOST", 3000)
    assert paired_comparison.compare(variant("a"), variant("b")).replicates == 3000


def test_groups_are_resampled_together(variant):
    """Sixty images as fifteen parts: as if alone, a part's images would make the interval too narrow."""
    random = np.random.default_rng(0)
    moved = {part: random.normal(0, 0.05) for part in range(15)}

    def grouped(by_part):
        def change(row):
            part = int(row["sample_hash"], 16) // 4
            after = row["adversarial_score"] + moved[part]
            return {**row, "adversarial_score": after if by_part else row["adversarial_score"], "group": f"part {part}"}

        return change

    a, b = variant("a", grouped(False)), variant("b", grouped(True))
    found = paired_comparison.compare(a, b)
    assert found.groups is not None
    assert sum(found.groups) < 60
    assert found.to_json()["groups"] == dict(zip(("normals", "anomalies"), found.groups, strict=True))
    alone = paired_comparison.compare(
        variant("c", lambda row: {**grouped(False)(row), "group": None}),
        variant("d", lambda row: {**grouped(True)(row), "group": None}),
    )
    assert alone.groups is None
    widths = [figure(one).upper - figure(one).lower for one in (found, alone)]
    assert widths[0] > 1.2 * widths[1]
    with pytest.raises(InputError, match="are of different groups"):
        paired_comparison.compare(a, variant("e"))
