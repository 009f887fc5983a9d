"""A local cluster that starts in the background, for real and where it cannot."""

from __future__ import annotations

import contextlib
import threading

import pytest
import ray

from assay.cluster import connection, early_start
from assay.errors import SweepError


def test_what_was_begun_is_used_and_ends_with_its_block():
    with early_start.begun():
        for _ in range(2):  # leaving it does not end it
            with connection.connected() as resources:
                assert resources["CPU"] >= 1
                assert ray.get(ray.remote(lambda: 7).remote()) == 7
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert early_start.cluster() is None


def test_nobody_need_wait_for_it():
    with pytest.raises(KeyError), early_start.begun():
        raise KeyError("no such sweep")
    assert not ray.is_initialized()


def test_a_cluster_of_another_kind_is_not_the_one_that_was_begun(monkeypatch):
    asked = []

    @contextlib.contextmanager
    def alone(address=None, cpus=None):
        asked.append((address, cpus))
        yield {"CPU": 1.0}

    monkeypatch.setattr(connection, "connected_alone", alone)
    with early_start.begun():
        for given in ({}, {"cpus": 3}, {"address": "1.2.3.4:6379"}):
            with connection.connected(**given) as resources:
                assert resources == {"CPU": 1.0}
    assert asked == [(None, None), (None, 3), ("1.2.3.4:6379", None)]


@pytest.mark.parametrize("error", [SweepError("cannot start a local Ray cluster: no room"), SystemExit("no room")])
def test_whoever_waits_is_told_why_there_is_none(monkeypatch, error):
    @contextlib.contextmanager
    def alone(address=None, cpus=None):
        raise error
        yield

    monkeypatch.setattr(connection, "connected_alone", alone)
    with early_start.begun(), pytest.raises(type(error), match="no room"), connection.connected():
        pass
    assert "early start of Ray" not in {thread.name for thread in threading.enumerate()}
