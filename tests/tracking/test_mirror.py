"""W&B beside a sweep or an audit: whatever the process that sends does, the run neither stops nor waits long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from toy_log import asked, ended, reported, write
from wandb_server import KEY, serving

from assay.store.store import Store
from assay.tracking import mirror
from assay.tracking.mirror import Tracker


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No key, no netrc, no network."""
    for name in ("API_KEY", "MODE", "BASE_URL", "PROJECT", "ENTITY", "IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def told() -> list[str]:
    return []


def tracker(store: Store, told: list[str], code: str = "", enabled: bool = True) -> Tracker:
    """A Tracker whose process runs `code` in place of the real one."""
    made = Tracker(store, "sweeps/toy", "assay publish toy", told.append, enabled)
    if code:
        made.command = [sys.executable, "-c", code]
    return made


def test_without_a_key_nothing_is_started_and_the_command_for_later_is_said(store, told, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with tracker(store, told) as made:
        made.trial(None, "ask")
    assert told == ["W&B: nothing was sent, as there is no key; send it at any time with: assay publish toy"]
    assert not store.path().exists()


def test_offline_is_as_without_a_key(store, told, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with tracker(store, told) as made:
        made.trial(None, "ask")
    assert told == ["W&B: nothing was sent, as WANDB_MODE says offline; send it at any time with: assay publish toy"]


@pytest.mark.parametrize("off", ["spec", "environment"])
def test_disabled_is_silent(store, told, monkeypatch, off):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    if off == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    with tracker(store, told, enabled=off != "spec") as made:
        made.trial(None, "ask")
        made.start()
    assert told == []
    assert made.process is None


def test_a_sweep_that_never_began_starts_nothing_and_its_error_passes(store, told, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(KeyError), tracker(store, told) as made:
        raise KeyError("the sweep's own")
    assert told == []
    assert made.process is None


CODES = {
    "well": ("import sys; sys.stdin.read(); print('all sent')", "W&B: all sent"),
    "crash": ("raise SystemExit(7)", "W&B: the process that sends ended with 7; nothing else is affected."),
    "hangs": ("import time; time.sleep(60)", "W&B: not done after 0 s; nothing else is affected."),
}


@pytest.mark.parametrize("kind", CODES)
def test_what_came_of_it_is_said_in_a_sentence(store, told, monkeypatch, kind):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(mirror, "PATIENCE", 0.3 if kind == "hangs" else 30)
    code, expected = CODES[kind]
    with tracker(store, told, code) as made:
        made.trial(None, "ask")
        process = made.process
        made.trial(None, "report")
        assert made.process is process
    assert process.returncode is not None
    [sentence] = told
    assert sentence.startswith(expected)
    assert ("Send what is missing with: assay publish toy" in sentence) == (kind != "well")


def test_ctrl_c_ends_the_waiting_and_nothing_else(store, told, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with tracker(store, told, CODES["hangs"][0]) as made:
        made.start()
        monkeypatch.setattr(made.process, "communicate", interrupted)
    assert told == [
        "W&B: stopped by Ctrl-C; nothing else is affected. Send what is missing with: assay publish toy"
    ]  # fmt: skip


def test_a_key_is_never_on_a_command_line(store, told, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert not any(KEY in word for word in tracker(store, told).command)


def test_a_sweep_is_sent_while_it_runs_from_another_process(store, told, monkeypatch):
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        write(store, asked(0), reported(0, 1))
        with tracker(store, told) as made:
            made.trial(None, "ask")
            until = time.monotonic() + 60
            while "UpsertBucket" not in server.requests and time.monotonic() < until:
                time.sleep(0.1)
            assert server.run_called("toy-00000")["state"] == "running"
            write(store, reported(0, 2), ended(0))
        assert told == [f"W&B: sweep toy: 1 trial sent: {server.url}/solar/robust/groups/toy"]
        run = server.run_called("toy-00000")
    assert (run["state"], run["sent"], len(run["history"])) == ("finished", 1, 2)
    assert {path.name for path in store.path("sweeps/toy").iterdir()} == {"spec.yaml", "log"}


def test_a_server_that_is_down_is_said_at_the_end(store, told, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    write(store, asked(0), ended(0))
    with tracker(store, told) as made:
        made.start()
    assert told == [
        "W&B: sweep toy: not sent; the W&B server http://127.0.0.1:9 cannot be reached (connection refused). "
        "Nothing else is affected; send the rest with: assay publish toy"
    ]


def test_the_project_is_that_of_the_sweep(store, monkeypatch):
    write(store, asked(0), ended(0))
    needed = {"suite": {"name": "s", "attacks": []}, "dataset": {"name": "d"}, "threshold": {"value": 0.0}}
    needed |= dict.fromkeys(("audit", "created", "model", "seed", "samples", "command"), "x")
    for audit, sweep in (("a", "toy"), ("b", None)):
        store.write(f"audits/{audit}/audit.yaml", json.dumps({**needed, "sweep": sweep}).encode())
    found = {key: mirror.project_of(store, key) for key in ("sweeps/toy", "audits/a", "audits/b", "sweeps/none")}
    assert found == {"sweeps/toy": "robust", "audits/a": "robust", "audits/b": "assay", "sweeps/none": "assay"}
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert mirror.project_of(store, "sweeps/toy") == "theirs"
    assert "WANDB_API_KEY" not in os.environ
