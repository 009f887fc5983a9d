"""Faults that come to an audit on a cluster and to a report; and that workers change no figure."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import toy_audit
from nodes import cluster
from same_audit import differences
from sweep_process import ASSAY, wait_for

from assay.audits import audit, plan, suite
from assay.store.store import Store

TESTS = Path(__file__).parents[1] / "support"


def slow_suite(folder: Path) -> str:
    """The tiny suite, and two attacks at the end that wait for a word."""
    slow = [{"name": name, "attack": "slow_work:slow", "threat": "l2"} for name in ("slow-a", "slow-b")]
    return toy_audit.write_suite(folder / "slow.yaml", name="slow", attacks=[*toy_audit.SUITE["attacks"], *slow])


def folder_of(store: Store, name: str) -> Path:
    [found] = [path for path in store.path("audits").iterdir() if f"-{name}-" in path.name]
    return found


def test_an_audit_goes_on_when_a_node_is_lost_with_its_shard_and_finds_what_it_would_have(store, tmp_path, monkeypatch):
    go_on = tmp_path / "waiting" / "go-on"
    go_on.parent.mkdir()
    monkeypatch.setenv("SLOW_WORK", str(go_on))  # for the nodes, too
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    [model] = store.names("models")
    attacks = slow_suite(tmp_path)
    alone = Store(shutil.copytree(store.path(""), tmp_path / "alone"))
    with cluster(2) as nodes:
        command = [ASSAY, "audit", model, "--suite", attacks, "--store", store.root, "--address", nodes.address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:

            def waiting() -> list[int]:
                return [int(mark.name[4:]) for mark in go_on.parent.glob("pid-*")]

            wait_for(lambda: len(waiting()) == 2 or process.poll() is not None, "two shards that wait")
            assert process.poll() is None, process.communicate()[0]
            nodes.kill(nodes.of(waiting()[0]))
            go_on.touch()
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, output
    pieces = Counter(re.findall(r"^ *\d+/\d+ (?!check )(\S+)", output, re.MULTILINE))
    assert pieces == Counter(["noise-linf", "pgd-linf", "apgd-l2", "slow-a", "slow-b"]), "each piece is named once"
    audit.run(alone, model, suite.read(attacks))
    assert differences(folder_of(store, "slow"), folder_of(alone, "slow")) == []


def test_four_workers_find_what_one_finds(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setattr(plan, "BATCH", 6)  # four slices of every attack
    [model] = store.names("models")
    found = []
    for workers in (1, 4):
        root = Store(shutil.copytree(store.path("models"), tmp_path / str(workers) / "models").parent)
        name = audit.run(root, model, suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml")), workers=workers)
        found.append(root.path(f"audits/{name}"))
    one, four = found
    assert one.name == four.name
    assert len(list(four.glob("scores/*/*.parquet"))) == 4 * len(toy_audit.SUITE["attacks"])
    assert differences(one, four) == []


@pytest.mark.parametrize("first", [True, False], ids=["the first", "a later one"])
def test_a_report_that_is_killed_while_it_is_written_leaves_none_or_the_one_before(store, first):
    report = folder_of(store, "tiny") / "report.html"
    command = ["report", report.parent.name, "--store", store.root]
    if not first:
        subprocess.run([ASSAY, *command], check=True, capture_output=True, timeout=120)
    before = report.read_bytes() if report.exists() else None
    assert (before is None) == first
    code = (
        "import os, signal\n"
        "from assay.cli import main\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"  # all is written, and it has no name yet
        "main()\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, *command], check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert (report.read_bytes() if report.exists() else None) == before
    assert "report.html" in store.names(f"audits/{report.parent.name}") or first
    subprocess.run([ASSAY, *command], check=True, capture_output=True, timeout=120)
    assert report.read_bytes().endswith(b"</html>\n") or b"</html>" in report.read_bytes()[-20:]
