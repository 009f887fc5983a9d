"""The folder of a local cluster's session goes with it; that of one that was killed goes later, and no other does."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.cluster import connection, ended_sessions, session_folder
from assay.errors import SweepError

DAYS = 2 * ended_sessions.KEPT


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("session_2*"))


@pytest.fixture
def folder(tmp_path_factory, monkeypatch):
    """Where local clusters keep their sessions."""
    short = Path(f"/tmp/a{os.getpid()}")
    short.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    yield Path(session_folder.own_folder())
    for one in sorted(short.rglob("*"), reverse=True):
        one.rmdir() if one.is_dir() and not one.is_symlink() else one.unlink()
    short.rmdir()


def test_a_session_leaves_nothing_behind(folder):
    with connection.connected(cpus=1):
        [session, lock] = left(folder)
        assert lock == session + ended_sessions.SUFFIX
        ended_sessions.tidy(str(folder), now=time.time() + DAYS)
        assert left(folder) == [session, lock], "it is in use"
    assert left(folder) == []


def test_what_ended_by_an_error_stays_for_a_day(folder):
    with pytest.raises(SweepError, match="no"), connection.connected(cpus=1):
        raise SweepError("no")
    logs = left(folder)
    ended_sessions.tidy(str(folder))
    assert left(folder) == logs
    assert len(logs) == 2
    ended_sessions.tidy(str(folder), now=time.time() + DAYS)
    assert left(folder) == []


def test_a_driver_that_was_killed_is_known_from_one_that_runs(folder):
    code = "import sys, time; from assay.cluster import ended_sessions\n"
    code += "with ended_sessions.held(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    session = folder / "session_2026_1"
    (session / "logs").mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", code, str(session)], stdout=subprocess.PIPE) as driver:
        driver.stdout.readline()
        ended_sessions.tidy(str(folder), now=time.time() + DAYS)
        assert session.exists()
        driver.send_signal(signal.SIGKILL)
    ended_sessions.tidy(str(folder), now=time.time() + DAYS)
    assert left(folder) == []


def test_a_session_that_is_not_ours_and_a_file_system_without_locks_are_left_alone(folder, monkeypatch):
    (folder / "session_2026_2").mkdir()
    (folder / "session_2026_3").mkdir()
    (folder / "session_2026_3.lock").touch()

    def no_locks(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    ended_sessions.tidy(str(folder), now=time.time() + DAYS)
    assert left(folder) == ["session_2026_2", "session_2026_3", "session_2026_3.lock"]
