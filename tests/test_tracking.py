"""The W&B mirror: offline without a key, and whatever W&B does, the sweep beside it neither stops nor waits."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import pytest

from assay import tracking
from assay.tracking import Tracker
from assay.trial_log import Record

KEY = "0123456789abcdef0123456789abcdef01234567"
REPORT = {
    "epoch": 1,
    "values": {"clean_auroc": 0.7},
    "kept": {"epoch": 1, "clean_auroc": 0.7},
    "losses": {"total": 0.5},
}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No key, no netrc, no network."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def wandb(monkeypatch):
    """A W&B that notes what it is told; tests break it."""
    told = []

    def init(**options):
        told.append(("init", options))
        return SimpleNamespace(
            log=lambda values, step: told.append(("log", step, values)),
            summary=SimpleNamespace(update=lambda values: told.append(("summary", values))),
            finish=lambda: told.append(("finish", options["name"])),
        )

    fake = SimpleNamespace(init=init, Settings=dict, told=told)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def record(number: int = 0, state: str = "running", reports: int = 0) -> Record:
    return Record(number, {}, {"x": 1}, {}, reports=[REPORT] * reports, state=state)


def wait_for_writers() -> None:
    """Until no writer that was given up is left: it would go on in the next test."""
    for thread in threading.enumerate():
        if thread.name == "wandb-writer":
            thread.join(30)


def tell(tracker: Tracker, numbers=(0,)) -> None:
    for number in numbers:
        tracker.trial(record(number), "ask")
        tracker.trial(record(number, reports=1), "report")
        tracker.trial(record(number, "complete", 1), "end")


def test_a_trial_is_a_run_of_the_sweeps_group(wandb, tmp_path):
    with Tracker(tmp_path, "assay", "toy") as tracker:
        tell(tracker)
    assert [name for name, *_ in wandb.told] == ["init", "log", "summary", "finish"]
    options = wandb.told[0][1]
    assert (options["group"], options["name"], options["config"], options["mode"]) == (
        "toy",
        "trial-00000",
        {"x": 1},
        "offline",
    )
    assert wandb.told[1] == ("log", 1, {"clean_auroc": 0.7, "loss/total": 0.5})
    assert wandb.told[2][1]["state"] == "complete"
    assert tracker.failed is None


def test_runs_that_were_not_ended_are_closed_at_the_end(wandb, tmp_path):
    with Tracker(tmp_path, "assay", "toy") as tracker:
        tracker.trial(record(3), "ask")
    assert wandb.told[-1] == ("finish", "trial-00003")


def test_an_audit_is_one_run(wandb, tmp_path):
    with Tracker(tmp_path, "assay", "toy") as tracker:
        tracker.audit("abc", {"suite": "quick"}, {"verdict": "PASS"})
    assert [name for name, *_ in wandb.told] == ["init", "summary", "finish"]
    assert wandb.told[1][1] == {"verdict": "PASS"}


@pytest.mark.parametrize("broken", ["init", "log", "summary", "finish", "import"])
def test_whatever_wandb_raises_there_is_one_warning_and_the_rest_goes_on(wandb, monkeypatch, tmp_path, caplog, broken):
    def refuse(*_, **__):
        raise RuntimeError("server on fire")

    def init(**_):
        run = SimpleNamespace(log=lambda *_, **__: None, summary=SimpleNamespace(update=lambda _: None), finish=print)
        if broken == "summary":
            run.summary.update = refuse
        else:
            setattr(run, broken, refuse)
        return run

    if broken == "import":
        monkeypatch.setitem(sys.modules, "wandb", None)
    else:
        wandb.init = refuse if broken == "init" else init
    with Tracker(tmp_path / "w", "assay", "toy") as tracker:
        tell(tracker, range(3))
    assert tracker.failed is not None
    [message] = [entry.getMessage() for entry in caplog.records]
    assert "nothing else is affected" in message
    assert f"wandb sync {tmp_path / 'w'}/wandb/*" in message
    assert ("server on fire" in message) == (broken != "import")


@pytest.mark.parametrize("hangs", ["init", "log"])
def test_a_wandb_that_hangs_holds_nothing_up_beyond_patience(wandb, monkeypatch, tmp_path, caplog, hangs):
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    released = threading.Event()
    original = wandb.init

    def init(**options):
        if hangs == "init":
            released.wait(30)
        run = original(**options)
        run.log = lambda *_, **__: released.wait(30)
        return run

    wandb.init = init
    started = time.monotonic()
    with Tracker(tmp_path, "assay", "toy") as tracker:
        tell(tracker, range(50))
        assert time.monotonic() - started < 5
    assert time.monotonic() - started < 10
    released.set()
    wait_for_writers()
    [message] = [entry.getMessage() for entry in caplog.records]
    assert "not done after" in message


def test_an_error_of_the_sweep_passes_through(wandb, tmp_path):
    with pytest.raises(KeyError), Tracker(tmp_path, "assay", "toy"):
        raise KeyError("the sweep's own")


@pytest.mark.parametrize("off", ["spec", "environment"])
def test_a_disabled_mirror_touches_nothing(wandb, monkeypatch, tmp_path, off):
    if off == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    with Tracker(tmp_path / "w", "assay", "toy", enabled=off != "spec") as tracker:
        tell(tracker)
        tracker.audit("abc", {}, {})
    assert wandb.told == []
    assert not (tmp_path / "w").exists()


def test_online_needs_a_key_from_the_environment_or_netrc(monkeypatch, tmp_path):
    assert tracking.mode() == "offline"
    (tmp_path / "netrc").write_text("machine example.org password x")
    assert tracking.mode() == "offline"
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}")
    assert tracking.mode() == "online"
    (tmp_path / "netrc").write_bytes(b"\xff\xfe")
    assert tracking.mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert tracking.mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking.mode() == "offline"


def test_offline_files_are_written_without_a_key_and_never_hold_one(monkeypatch, tmp_path):
    """The real W&B, offline; a key in the environment must not get into what it writes."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with Tracker(tmp_path / "w", "assay", "toy") as tracker:
        tell(tracker)
    assert tracker.failed is None
    files = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" and path.stat().st_size for path in files)
    assert not any(KEY.encode() in path.read_bytes() for path in files)
