"""The log of a sweep that goes on: only what is new is read, and what is damaged is told and passed over."""

from __future__ import annotations

import pytest
import toy_log
from toy_log import asked, ended, reported

from assay.errors import DataError
from assay.reports.live.followed_log import FollowedLog
from assay.store import trial_log
from assay.store.local import LocalFiles
from assay.store.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The keys that are read from disk."""
    seen: list[str] = []
    whole = LocalFiles.read

    def read(self, key):
        seen.append(key)
        return whole(self, key)

    monkeypatch.setattr(LocalFiles, "read", read)
    return seen


def same(log: FollowedLog, store: Store) -> bool:
    return log.records == trial_log.records(trial_log.read(store, "toy"))


def test_it_grows_with_the_log_and_reads_nothing_that_is_unchanged(store, reads):
    toy_log.write(store, asked(0), reported(0, 1))
    log = FollowedLog(store, "toy")
    log.look()
    assert same(log, store)
    assert log.records[0].state == "running"
    version = log.version
    reads.clear()
    log.look()
    assert (reads, log.version) == ([], version)
    toy_log.write(store, ended(0), asked(1))  # a second segment, as of a resumed sweep
    log.look()
    assert [key for key in reads if "0000" in key] == []
    assert same(log, store)
    assert (log.records[0].state, sorted(log.records)) == ("complete", [0, 1])
    assert log.version > version
    assert log.last == pytest.approx(trial_log.read(store, "toy")[-1]["at"])


def test_a_line_counts_once_it_is_whole(store):
    toy_log.write(store, asked(0))
    path = store.path("sweeps/toy/log/0000.jsonl")
    whole = path.read_bytes()
    line = whole.splitlines(keepends=True)[-1].replace(b'"trial": 0', b'"trial": 1')
    path.write_bytes(whole + line[:30])
    log = FollowedLog(store, "toy")
    log.look()
    assert sorted(log.records) == [0]
    path.write_bytes(whole + line)
    log.look()
    assert sorted(log.records) == [0, 1]
    assert log.said() == []


def test_a_damaged_line_is_told_and_passed_over(store):
    toy_log.write(store, asked(0), reported(0, 1), ended(0), asked(1))
    path = store.path("sweeps/toy/log/0000.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    hostile = [b"{broken\n", b"[]\n", b'{"event": "end"}\n', b'{"event": "report", "trial": 99, "at": 1}\n', b"\xff\n"]
    path.write_bytes(b"".join([*lines[:2], *hostile, *lines[2:]]))
    log = FollowedLog(store, "toy")
    log.look()
    assert (log.records[0].state, sorted(log.records)) == ("complete", [0, 1])
    assert len(log.said()) == 5
    assert "0000.jsonl line 3 is damaged" in log.said()[0]
    assert "lost the beginning of trial 99" in log.said()[3]


def test_of_many_damaged_lines_few_are_named(store):
    toy_log.write(store, asked(0))
    path = store.path("sweeps/toy/log/0000.jsonl")
    path.write_bytes(path.read_bytes() + b"broken\n" * 40)
    log = FollowedLog(store, "toy")
    log.look()
    assert len(log.said()) == 6
    assert log.said()[-1] == "and 35 more places"


def test_a_sweep_put_in_place_of_another_is_read_from_its_beginning(store):
    toy_log.write(store, asked(0), ended(0))
    log = FollowedLog(store, "toy")
    log.look()
    store.path("sweeps/toy/log/0000.jsonl").unlink()
    toy_log.write(store, asked(0), reported(0, 1), reported(0, 2), asked(1), ended(1, "failed", "bug"))
    log.look()
    assert same(log, store)
    assert log.said() == []
    assert [record.state for record in log.records.values()] == ["running", "failed"]
    store.path("sweeps/toy/log/0000.jsonl").unlink()
    log.look()
    assert (log.records, log.last) == ({}, None)


def test_spending_is_added_up(store):
    toy_log.write(store, *[{"event": "spent", "cpu_hours": 0.5, "gpu_hours": 0.25}] * 3)
    log = FollowedLog(store, "toy")
    log.look()
    assert (log.spent.cpu_hours, log.spent.gpu_hours) == (1.5, 0.75)


def test_a_log_of_a_newer_format_is_refused(store):
    toy_log.write(store, asked(0))
    path = store.path("sweeps/toy/log/0000.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 99'))
    with pytest.raises(DataError, match="install a newer Assay"):
        FollowedLog(store, "toy").look()


def test_object_storage_is_followed_too(s3):
    store = Store(f"s3://{s3.bucket()}/prefix")
    toy_log.write(store, asked(0), reported(0, 1))
    log = FollowedLog(store, "toy")
    log.look()
    assert same(log, store)
    toy_log.write(store, ended(0))
    log.look()
    assert same(log, store)
    assert log.records[0].state == "complete"
