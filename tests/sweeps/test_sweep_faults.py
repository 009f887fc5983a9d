"""Faults that come to a sweep on a cluster: processes, whole nodes and the driver are killed, and nothing is lost.

The random sampler makes configurations independent of the order in which trials end, so that a sweep of several trials
at a time has to find what one trial after another finds in this process.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from contextlib import suppress

import pyarrow.parquet as pq
import pytest
import toy_runs
from nodes import Nodes, cluster
from sweep_process import Sweep, outcome, wait_for, without_ray

from assay.store import trial_log
from assay.store.store import Store


@pytest.fixture(scope="module")
def nodes():
    with cluster(2) as found:
        yield found


@pytest.fixture
def sweep(tmp_path, own_cache):
    found = Sweep(tmp_path)
    shutil.copy(toy_runs.__file__, tmp_path)  # beside the search space, as a user's own module: it travels to the nodes
    yield found
    assert not found.running()


def written(sweep: Sweep, trials: int, epochs: int, **changes) -> list:
    """Write the search space; what an undisturbed sweep finds, trials being slower when they are to be disturbed."""
    search = {"sampler": "random", "trials": trials, "seed": 0}
    for pause in (0, 0.25):
        found = sweep.write(search=search, fixed={"epochs": epochs, "pause": pause}, **changes)
        if not pause:
            expected = outcome(without_ray(found, Store(sweep.folder / "whole")).records)
    return expected


def newest(sweep: Sweep, nodes: Nodes) -> tuple[int, int]:
    """The process, and its node, in which the youngest of the trials runs."""
    for mark in sorted(sweep.marks.glob("pid-*"), key=lambda mark: -mark.stat().st_mtime):
        with suppress(OSError):  # it is gone
            return int(mark.name[4:]), nodes.of(int(mark.name[4:]))
    pytest.fail("no trial runs")


def check_log(sweep: Sweep, trials: int) -> dict:
    """The records, once it is certain that no trial was lost or counted twice."""
    events = sweep.events()
    for kind in ("ask", "end"):
        assert Counter(e["trial"] for e in events if e["event"] == kind) == Counter(range(trials)), kind
    reported = Counter((e["trial"], e["epoch"]) for e in events if e["event"] == "report")
    assert set(reported.values()) == {1}
    assert pq.read_table(sweep.store.path("sweeps/toy/trials.parquet")).num_rows == trials
    return trial_log.records(events)


def test_a_sweep_outlives_a_process_its_nodes_and_a_pre_emption(sweep, nodes):
    expected = written(sweep, trials=6, epochs=16, resources={"concurrent": 2})
    process = sweep.start("toy.yaml", "--address", nodes.address, path=False)

    def after(more: int) -> tuple[int, int]:
        """The newest trial's process and node when there are so many more reports."""
        wanted = sweep.reports() + more
        wait_for(lambda: process.poll() is not None or sweep.reports() >= wanted, f"{wanted} reports")
        assert process.poll() is None, process.communicate()[0]
        return newest(sweep, nodes)

    pid, _ = after(3)
    os.kill(pid, signal.SIGKILL)  # one worker process
    _, node = after(6)
    nodes.kill(node)  # a whole node, while a trial runs there
    after(3)
    nodes.add()  # it comes back
    _, node = after(10)
    nodes.drain(node)  # one is told that it will be taken away, and is
    after(2)
    nodes.kill(node)
    nodes.add()
    code, output = sweep.end(process)
    assert code == 0, output
    records = check_log(sweep, 6)
    assert sweep.outcome() == expected
    why = [(e["failure"], e["message"]) for e in sweep.events() if e["event"] == "retry"]
    assert {kind for kind, _ in why} == {"worker", "node"}, why
    assert all(record.state == "complete" for record in records.values())


def test_a_driver_that_is_killed_on_a_cluster_and_resumed_at_once_loses_and_repeats_nothing(sweep, nodes):
    """At once: what it had started on the nodes may still be ending."""
    expected = written(sweep, trials=4, epochs=6, resources={"concurrent": 2})
    process = sweep.start("toy.yaml", "--address", nodes.address, path=False)
    wait_for(lambda: process.poll() is not None or sweep.reports() >= 5, "five reports")
    process.kill()
    code, output = sweep.run("--resume", "toy", "--address", nodes.address, path=False)
    assert sweep.end(process)[0] == -signal.SIGKILL
    assert code == 0, output
    check_log(sweep, 4)
    assert sweep.outcome() == expected
