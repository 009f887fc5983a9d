"""`assay compare`: which audits are meant, the table, the JSON, the exit code."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assay.cli import main
from assay.metrics import bootstrap, paired_comparison
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store

MODELS = {"old": "a" * 64, "new": "b" * 64}


@pytest.fixture
def store(pristine_audit_folder, tmp_path, monkeypatch):
    """A store with an audit of each of two models; the newer model is broken further."""
    monkeypatch.setattr(paired_comparison, "REPLICATES", 400)
    monkeypatch.setattr(bootstrap, "MOST", 400)
    store = Store(tmp_path / "store")
    for age, (name, model) in enumerate(MODELS.items()):
        audit = f"{model[:12]}-standard-{name}"
        folder = shutil.copytree(pristine_audit_folder, store.path(f"audits/{audit}"))
        about = (folder / "audit.yaml").read_text()
        old = Audit(folder).info
        (folder / "audit.yaml").write_text(about.replace(old["audit"], audit).replace(old["model"], model))
        os.utime(folder / "audit.yaml", (age, age))
        store.path(f"models/{model}").mkdir(parents=True)
    for part in folder.glob("scores/*/*.parquet"):
        rows = pq.ParquetFile(part).read().to_pylist()
        moved = [{**row, "adversarial_score": row["adversarial_score"] + 0.06 * row["direction"]} for row in rows]
        pq.write_table(pa.Table.from_pylist(moved, schema=pq.read_schema(part)), part)
    return store


@pytest.fixture
def run(store):
    """A function: (words, exit code) -> the result of the command."""

    def run(*words: str, code: int):
        result = CliRunner().invoke(main, ["compare", *words, "--store", str(store.root)], env={"COLUMNS": "160"})
        assert result.exit_code == code, result.output
        return result

    return run


def test_a_regression_is_exit_3_and_is_said(run, store):
    told = run("aaaa", "bbbb", code=3).stdout
    assert "worst linf 2/255 AUROC" in told
    assert "REGRESSION" in told
    assert told.splitlines()[-1].startswith("regression: worst l2 0.125 AUROC, ")
    kept = store.read_json("audits/bbbbbbbbbbbb-standard-new/comparison.json")
    assert kept["regression"]
    assert not store.exists("audits/aaaaaaaaaaaa-standard-old/comparison.json")


def test_an_improvement_or_a_margin_is_exit_0(run):
    assert run("bbbb", "aaaa", code=0).stdout.splitlines()[-1] == "no regression found"
    assert (
        run("aaaa", "bbbb", "--margin", "0.9", code=0).stdout.splitlines()[-1] == "no regression by more than 0.9 found"
    )


def test_json_holds_every_figure(run, store):
    found = json.loads(run("aaaa", "bbbb", "--json", code=3).stdout)
    assert found == store.read_json("audits/bbbbbbbbbbbb-standard-new/comparison.json")
    assert (found["a"]["model"], found["b"]["model"]) == tuple(MODELS.values())
    assert {row["attack"] for row in found["figures"]} >= {"clean", "worst", "worst_8bit", "pgd-linf"}
    assert {row["metric"] for row in found["figures"]} >= {"auroc", "average_precision", "fpr95", "miss_rate"}


def test_an_audit_a_model_and_a_sweep_can_be_named(run, store, monkeypatch):
    monkeypatch.setattr(references, "_of_sweep", lambda *_: [MODELS["new"]])
    for words in (
        ("aaaaaaaaaaaa-standard-old", "latest"),
        (MODELS["old"], MODELS["new"]),
        ("aaaaaaaaaaaa-st", "demo:best"),
    ):
        run(*words, code=3)


def test_the_newest_audit_of_a_model_counts(store):
    first = store.path("audits/aaaaaaaaaaaa-standard-old")
    newer = shutil.copytree(first, first.with_name("aaaaaaaaaaaa-standard-two"))
    (newer / "audit.yaml").write_text((newer / "audit.yaml").read_text().replace(first.name, newer.name))
    os.utime(newer / "audit.yaml", (9, 9))
    assert references.newest_audit(store, "aaaa") == newer.name
    assert references.newest_audit(store, first.name) == first.name


def test_a_check_that_failed_is_said(run, store):
    checks = store.path("audits/bbbbbbbbbbbb-standard-new/checks.parquet")
    rows = [{**row, "passed": row["check"] != "ball_respected"} for row in pq.ParquetFile(checks).read().to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(checks)), checks)
    assert "bbbbbbbbbbbb-standard-new is INVALID (checks ball_respected)" in run("aaaa", "bbbb", code=3).stdout


def test_what_was_written_wrong_is_exit_2(run, store):
    assert "both are audit" in run("aaaa", "aaaa", code=2).stderr
    assert "is not known" in run("aaaa", "x", code=2).stderr
    assert "--margin" in run("aaaa", "bbbb", "--margin", "-1", code=2).stderr
    store.path(f"models/{'c' * 64}").mkdir()
    assert "assay audit cccccccccccc" in run("aaaa", "cccc", code=2).stderr


def test_a_damaged_part_is_exit_1(run, store):
    part = next(store.path("audits/aaaaaaaaaaaa-standard-old").glob("scores/*/*.parquet"))
    part.write_bytes(b"PAR1")
    assert "is damaged" in run("aaaa", "bbbb", code=1).stderr
