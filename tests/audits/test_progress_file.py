"""The progress of an audit, for whoever watches it: there while it runs, gone when it has ended."""

from __future__ import annotations

import json

import pytest
import toy_audit

from assay.audits import audit, progress_file, suite
from assay.audits.audit import Progress
from assay.store.store import Store


def test_it_is_there_while_the_audit_runs_and_gone_at_its_end(tmp_path, own_cache):
    store = Store(tmp_path / "store")
    name = toy_audit.write_model(store, toy_audit.pictures(tmp_path / "images"))
    seen: list[tuple[Progress, str]] = []

    def watched(progress: Progress) -> None:
        [one] = store.names("audits")
        seen.append((progress, progress_file.told(store, one, now=0.0)))

    done = audit.run(store, name, suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml")), on_progress=watched)
    total = seen[0][0].total
    assert seen[0] == (Progress(1, total, seen[0][0].work, seen[0][0].seconds), seen[0][1])
    assert seen[0][1] == f"running: 1 of {total} done, last {seen[0][0].work}, 0 s ago"
    assert seen[-1][0].done == total
    assert not store.exists(f"audits/{done}/{progress_file.FILE}")


def test_it_is_written_at_most_every_two_seconds(tmp_path, monkeypatch):
    store, passed = Store(tmp_path), []
    one = progress_file.ProgressFile(store, "a", passed.append)
    for number in range(3):
        one(Progress(number, 9, "pgd", 1.0))
    assert json.loads(store.read("audits/a/.progress.json"))["done"] == 0
    monkeypatch.setattr(progress_file, "EVERY", 0.0)
    one(Progress(3, 9, "pgd", 1.0))
    assert json.loads(store.read("audits/a/.progress.json"))["done"] == 3
    assert [progress.done for progress in passed] == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"done": 1}', b'{"done": "x", "total": 1, "work": "", "at": 1}'])
def test_a_damaged_one_says_nothing(tmp_path, content):
    store = Store(tmp_path)
    assert progress_file.told(store, "a", 0.0) == ""
    store.write("audits/a/.progress.json", content)
    assert progress_file.told(store, "a", 0.0) == ""


def test_one_that_is_old_is_of_an_audit_that_stopped(tmp_path):
    store = Store(tmp_path)
    store.write("audits/a/.progress.json", json.dumps({"done": 1, "total": 2, "work": "pgd", "at": 100}).encode())
    assert progress_file.told(store, "a", 105.0) == "running: 1 of 2 done, last pgd, 5 s ago"
    assert progress_file.told(store, "a", 10_000.0) == "stopped: 1 of 2 done, last pgd, 9900 s ago"
