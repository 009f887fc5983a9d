"""Checks are pieces of work: an audit that is killed among them keeps those that it made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assay.audits import audit, forecast, self_checks
from assay.audits.checks import _kept as kept_checks
from assay.errors import InputError
from assay.store import parquet, schemas
from assay.store.store import Store

SUPPORT = Path(__file__).parents[1] / "support"
KILLED = """
import os, signal, sys
from assay.audits import audit, suite
from assay.store.store import Store

store, file, check = sys.argv[1:]

def watch(progress):
    if progress.work == f"check {check}":
        os.kill(os.getpid(), signal.SIGKILL)

root = Store(store)
audit.run(root, root.names("models")[0], suite.read(file), on_progress=watch)
"""


def made(store, name, tiny, monkeypatch) -> list[str]:
    """The checks that a run makes, as against those that it finds."""
    outcome, done = self_checks.outcome, []

    def counted(check, context):
        done.append(check)
        return outcome(check, context)

    monkeypatch.setattr(self_checks, "outcome", counted)
    audit.run(store, name, tiny)
    monkeypatch.setattr(self_checks, "outcome", outcome)
    return done


def test_an_audit_killed_among_its_checks_does_only_the_others(store, name, tiny, pristine_store, monkeypatch):
    [done] = store.names("audits")
    whole = pq.ParquetFile(store.path(f"audits/{done}/checks.parquet")).read()
    shutil.rmtree(store.path(f"audits/{done}"))
    names = self_checks.names()
    half = names[len(names) // 2]
    words = [str(store.root), str(pristine_store.parent / "tiny.yaml"), half]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *words], env={**os.environ, "PYTHONPATH": _paths()}, check=False
    )
    assert ended.returncode == -9
    assert not store.exists(f"audits/{done}/audit.yaml")
    before = names[: names.index(half) + 1]
    assert kept_checks.of(store, done) == set(before)
    assert made(store, name, tiny, monkeypatch) == names[len(before) :]
    found = pq.ParquetFile(store.path(f"audits/{done}/checks.parquet")).read()
    assert found.to_pylist() == whole.to_pylist()


def below(store, folder) -> list[str]:
    """The keys of all files there."""
    return [f"{folder}/{name}" for name in store.walk(folder)]


def _paths() -> str:
    return ":".join([str(SUPPORT), *(path for path in sys.path if path)])


def test_where_the_scores_change_every_check_is_made_again(store, name, tiny, monkeypatch):
    [done] = store.names("audits")
    assert made(store, name, tiny, monkeypatch) == []
    [part] = below(store, f"audits/{done}/scores/pgd-linf")
    scores = parquet.load(store, part, schemas.SCORES)
    at = scores.schema.get_field_index("adversarial_score")
    changed = scores.set_column(at, scores.schema.field(at), [scores["adversarial_score"].to_numpy() + 0.01])
    store.write(part, parquet.dump(changed))
    assert made(store, name, tiny, monkeypatch) == self_checks.names()


def test_how_long_attacks_took_changes_no_check(store, name, tiny, monkeypatch):
    [done] = store.names("audits")
    for part in below(store, f"audits/{done}/scores"):
        scores = parquet.load(store, part, schemas.SCORES)
        at = scores.schema.get_field_index("seconds")
        store.write(part, parquet.dump(scores.set_column(at, scores.schema.field(at), [[9.0] * len(scores)])))
    assert made(store, name, tiny, monkeypatch) == []


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", None])
def test_a_damaged_result_is_made_again(store, name, tiny, monkeypatch, content):
    [done] = store.names("audits")
    [part] = below(store, f"audits/{done}/checks/unbounded")
    other = store.read(below(store, f"audits/{done}/checks/gradients")[0])  # of another check, under its name
    store.write(part, other if content is None else content)
    assert made(store, name, tiny, monkeypatch) == ["unbounded"]


def test_a_check_that_could_not_be_made_is_tried_again(store, name, tiny, monkeypatch):
    [done] = store.names("audits")
    shutil.rmtree(store.path(f"audits/{done}/checks"))
    load = self_checks.shelves.load

    def broken(context):
        raise InputError("out of memory")

    monkeypatch.setattr(
        self_checks.shelves, "load", lambda shelf, item: broken if item == "unbounded" else load(shelf, item)
    )
    audit.run(store, name, tiny)
    assert not store.walk(f"audits/{done}/checks/unbounded")
    monkeypatch.setattr(self_checks.shelves, "load", load)
    assert made(store, name, tiny, monkeypatch) == ["unbounded"]


def test_a_forecast_leaves_out_what_is_kept(store, name, tiny):
    prepared = audit.prepare(store, name, tiny)
    assert not [piece for piece in audit.foresee(store, prepared, 1).checks if piece.work.startswith("check ")]
    shutil.rmtree(store.path(f"audits/{prepared.plan.audit}/checks/unbounded"))
    ahead: forecast.Forecast = audit.foresee(store, prepared, 1)
    assert "check unbounded" in {piece.work for piece in ahead.checks}
    assert Store(store.root).exists(f"audits/{prepared.plan.audit}/checks/gradients")
