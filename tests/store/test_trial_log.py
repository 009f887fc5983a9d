"""The trial log: what was appended is read again, also after a crash, and damage is told from a cut."""

from __future__ import annotations

import errno
import json
import os

import pytest

from assay.errors import StoreError
from assay.store import trial_log
from assay.store.store import Store
from assay.store.trial_log import TrialLog

ASK = {"event": "ask", "assignment": {"x": 1.5}, "parameters": {"x": 1.5}, "distributions": {}, "attributes": {}}


def report(trial: int, epoch: int, value: float) -> dict:
    return {"event": "report", "trial": trial, "epoch": epoch, "kept": {"epoch": epoch, "clean_auroc": value}}


def end(trial: int, state: str, failure: str = "", message: str = "") -> dict:
    return {"event": "end", "trial": trial, "state": state, "failure": failure, "message": message}


EVENTS = [
    {"event": "start", "dataset": "d"},
    {**ASK, "trial": 0},
    report(0, 1, 0.5),
    {**ASK, "trial": 1},
    report(0, 2, 0.7),
    report(1, 1, 0.4),
    end(1, "pruned"),
    end(0, "complete"),
]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def append(store, events) -> None:
    log = TrialLog(store, "toy")
    for event in events:
        log.append(event)
    log.close()


def read(store) -> list[dict]:
    return [{k: v for k, v in event.items() if k != "at"} for event in trial_log.read(store, "toy")]


def test_what_was_appended_is_read_in_order_and_dated(store):
    append(store, EVENTS)
    assert read(store) == EVENTS
    times = [event["at"] for event in trial_log.read(store, "toy")]
    assert times == sorted(times)


def test_there_is_nothing_before_the_first_event(store):
    TrialLog(store, "toy").close()
    assert trial_log.read(store, "toy") == []
    assert not store.exists("sweeps/toy/log")


def test_an_event_is_there_for_any_reader_at_once(store):
    log = TrialLog(store, "toy")
    log.append(EVENTS[0])
    assert read(store) == EVENTS[:1]
    log.close()


def test_every_run_has_a_segment_of_its_own(store):
    for event in EVENTS:
        append(store, [event])
    assert store.names("sweeps/toy/log") == [f"{n:04d}.jsonl" for n in range(len(EVENTS))]
    assert read(store) == EVENTS
    store.remove("sweeps/toy/log/0000.jsonl")
    append(store, [EVENTS[0]])
    assert store.names("sweeps/toy/log")[-1] == "0008.jsonl"
    assert read(store) == [*EVENTS[1:], EVENTS[0]]


def test_a_line_that_was_cut_anywhere_is_left_out_and_the_next_run_goes_on(store):
    append(store, EVENTS[:2])
    key = "sweeps/toy/log/0000.jsonl"
    whole = store.read(key)
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) - 1):
        store.write(key, whole[:cut])
        assert read(store) == EVENTS[:1]
    store.write(key, whole[:-1])  # all but the newline
    assert read(store) == EVENTS[:2]
    store.write(key, whole[: first + 5])
    append(store, EVENTS[2:3])
    assert read(store) == [EVENTS[0], EVENTS[2]]


def test_a_damaged_line_that_is_not_the_last_is_an_error(store):
    append(store, EVENTS)
    key = "sweeps/toy/log/0000.jsonl"
    lines = store.read(key).split(b"\n")
    store.write(key, b"\n".join([*lines[:2], lines[2][:9], *lines[3:]]))
    with pytest.raises(StoreError, match=r"0000\.jsonl line 3 is damaged; restore the file from a copy"):
        trial_log.read(store, "toy")


def test_figures_that_are_no_numbers_are_not_written(store):
    log = TrialLog(store, "toy")
    log.append(EVENTS[0])
    with pytest.raises(ValueError):
        log.append(report(0, 1, float("nan")))
    log.close()
    assert read(store) == EVENTS[:1]


def test_a_full_disk_is_said_in_words(store, monkeypatch):
    log = TrialLog(store, "toy")

    def refuse(handle):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="no space left on the disk"):
        log.append(EVENTS[0])


def test_records_hold_all_that_the_log_says_of_a_trial():
    found = trial_log.records(EVENTS)
    assert list(found) == [0, 1]
    assert (found[0].state, found[1].state) == ("complete", "pruned")
    assert found[0].kept == {"epoch": 2, "clean_auroc": 0.7}
    assert found[0].values({"clean_auroc": "max"}) == {"clean_auroc": 0.7}
    assert found[0].assignment == {"x": 1.5}
    assert trial_log.records(EVENTS[:2])[0].kept == {}


def test_a_report_told_twice_counts_once():
    found = trial_log.records([*EVENTS[:5], report(0, 2, 0.7), report(0, 1, 0.5), report(0, 3, 0.8)])
    assert [r["epoch"] for r in found[0].reports] == [1, 2, 3]


def test_a_failed_trial_that_is_tried_again_is_running():
    events = [*EVENTS[:3], end(0, "failed", "worker", "died")]
    assert (trial_log.records(events)[0].state, trial_log.records(events)[0].failure) == ("failed", "worker")
    events.append({"event": "retry", "trial": 0})
    again = trial_log.records(events)[0]
    assert (again.state, again.failure, again.message, len(again.reports)) == ("running", "", "", 1)


def test_an_event_of_a_trial_that_was_never_asked_for_is_damage():
    with pytest.raises(StoreError, match=r"trial 7; restore it"):
        trial_log.records([*EVENTS, report(7, 1, 0.1)])


def test_a_line_is_plain_json(store):
    append(store, EVENTS)
    lines = store.read("sweeps/toy/log/0000.jsonl").decode().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [event["event"] for event in EVENTS]
