"""Work over Ray workers that die, and an audit whose driver dies: what was done stays, what is left is done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
import toy_audit
from slow_work import Note

from assay.audits import fan_out
from assay.cluster import connection, idle_warning
from assay.errors import AssayError, InputError
from assay.store.store import Store

TESTS = Path(__file__).parents[1] / "support"
PATIENCE = 60


def test_a_worker_that_is_killed_costs_what_it_was_doing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)  # workers import slow_work too
    works, ended = [Note(number, deadly=2 * (number == 2)) for number in range(6)], []
    fan_out.run(works, str(tmp_path), workers=2, gpus=0.0, on_done=lambda work, _: ended.append(work.number))
    assert len(Store(tmp_path).names("killed")) == 2, "nothing was killed, so nothing was tested"
    assert sorted(ended) == list(range(6)), "each is told once"
    assert Store(tmp_path).names("notes") == [str(number) for number in range(6)]


def test_work_that_kills_its_worker_every_time_ends_in_words_and_what_is_done_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
    with pytest.raises(
        AssayError, match=r"^note-1: the worker process died.* 3 times; .*fewer --workers.*same audit again"
    ):
        fan_out.run([Note(0), Note(1, deadly=99)], str(tmp_path), workers=2, on_done=lambda *_: None)
    assert len(Store(tmp_path).names("killed")) == 3
    assert Store(tmp_path).names("notes") == ["0"]


def test_workers_share_a_gpu(tmp_path, monkeypatch):
    @contextmanager
    def one_gpu(address, cpus):
        """A cluster with a GPU that Ray only counts."""
        ray.init(address="local", num_cpus=cpus, num_gpus=1, include_dashboard=False, log_to_driver=False)
        yield ray.cluster_resources()
        ray.shutdown()

    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
    monkeypatch.setattr(connection, "connected", one_gpu)
    works = [Note(number, deadly=number == 3) for number in range(8)]
    with pytest.raises(InputError, match="2 of a GPU and Ray sees 1"):
        fan_out.run(works, str(tmp_path), workers=2, gpus=2, on_done=lambda *_: None)
    ray.shutdown()
    where = {"workers": None, "gpus": 0.5, "address": "there", "audit": "notes"}
    fan_out.run(works, str(tmp_path), **where, on_done=lambda *_: None)
    store = Store(tmp_path)
    assert all(work.done(store) for work in works)
    assert len(store.names("killed")) == 1
    assert 2 <= len(store.names("processes")) <= 4, "each process does many jobs; one died, and one began anew"
    more = [Note(number) for number in range(8, 12)]
    fan_out.run(more, str(tmp_path), workers=4, gpus=0.5, on_done=lambda *_: None)
    assert all(work.done(store) for work in more), "more than have room wait for those that end"


def test_processes_that_take_no_share_of_a_gpu_may_not_crowd_it(tmp_path):
    for where in ({"workers": 2}, {"workers": 1, "address": "10.0.0.1:6379"}):
        with pytest.raises(InputError, match="give --gpus-per-worker"):
            fan_out.run([Note(0, device="cuda"), Note(1)], str(tmp_path), **where, on_done=lambda *_: None)


def test_each_job_asks_for_its_memory(tmp_path, monkeypatch):
    asked = []

    class Asked(Exception):  # noqa: N818
        """What was to be seen."""

    def remote(**takes):
        asked.append(takes)
        raise Asked

    @contextmanager
    def connected(address, cpus):
        yield {"CPU": 2, "GPU": 1}

    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(connection, "connected", connected)
    with pytest.raises(Asked):
        fan_out.run([Note(0), Note(1)], str(tmp_path), workers=2, gpus=0.25, memory_gb=2, on_done=lambda *_: None)
    [takes] = asked
    assert takes.items() >= {"num_cpus": 1, "num_gpus": 0.25, "memory": 2 * 2**30}.items()


def test_a_cluster_without_a_worker_is_told_of(tmp_path, monkeypatch, caplog):
    class SeenError(Exception):
        """The test has seen what it waits for."""

    @contextmanager
    def no_cores(address, cpus):
        ray.init(address="local", num_cpus=0, include_dashboard=False, log_to_driver=False)
        yield ray.cluster_resources()

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "assay"]

    def wait(*arguments, wait=ray.wait, **options):
        if told():
            raise SeenError
        return wait(*arguments, **options)

    monkeypatch.setattr(connection, "connected", no_cores)
    monkeypatch.setattr(idle_warning, "PATIENCE", 0.5)
    monkeypatch.setattr(ray, "wait", wait)
    try:
        with pytest.raises(SeenError):
            fan_out.run([Note(0)], str(tmp_path), workers=1, address="there", on_done=lambda *_: None)
    finally:
        ray.shutdown()
    words = "each needs 1 cpu and the cluster has 0 cpu; look at `ray status`"
    assert re.fullmatch(rf"no job has had a worker for \d+ s; {words}", told()[0])


@pytest.mark.parametrize(
    ("has", "free", "runs"),
    [
        ({}, {}, False),
        ({"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}, False),
        ({"CPU": 4.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}, False),  # others' work, which takes no GPU
        ({"CPU": 4.0, "GPU": 1.0}, {"CPU": 3.0, "GPU": 0.75}, True),
        ({"CPU": 1.0, "GPU": 1.0}, {"GPU": 0.75}, True),
    ],
)
def test_work_that_takes_its_time_does_not_wait(has, free, runs, monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: has)
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    assert fan_out._taken(1, 0.25) is runs


def test_without_workers_an_error_of_the_work_reaches_the_caller(tmp_path):
    class Broken(Note):
        def run(self, root):
            raise AssayError("no")

    with pytest.raises(AssayError, match="no"):
        fan_out.run([Broken(1)], str(tmp_path), workers=1, on_done=lambda *_: None)


def test_an_audit_whose_process_is_killed_goes_on_where_it_stopped(store, tmp_path):
    [model] = store.names("models")
    attacks = [*toy_audit.SUITE["attacks"], {"name": "slow", "attack": "slow_work:slow", "threat": "l2"}]
    suite = toy_audit.write_suite(tmp_path / "slow.yaml", name="slow", attacks=attacks)
    flag = tmp_path / "go-on"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}",
        "SLOW_WORK": str(flag),
        "OMP_NUM_THREADS": "1",
    }
    assay = str(Path(sys.executable).parent / "assay")
    command = [assay, "audit", model, "--suite", suite, "--workers", "1", "--no-wandb", "--store", str(store.root)]

    def parts() -> dict[Path, float]:
        folders = store.path("audits").glob("*-slow-*/scores/*/part-*.parquet")
        return {part: part.stat().st_mtime_ns for part in folders}

    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + PATIENCE
        while len(parts()) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    before = parts()
    assert len(before) == 3
    assert not list(store.path("audits").glob("*-slow-*/audit.yaml"))

    flag.touch()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    after = parts()
    assert len(after) == 4
    assert before.items() <= after.items(), "what was there was computed again"
    assert len(list(store.path("audits").glob("*-slow-*/audit.yaml"))) == 1
