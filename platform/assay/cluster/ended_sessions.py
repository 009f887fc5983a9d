"""Removes the folders of local clusters that have ended: Ray leaves each of them, with its logs, for ever.

A driver holds a lock beside its session's folder for as long as it lives, so that a session that was killed is known
from one that runs, also one of another container on the same disk. Sessions without a lock are not ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = 24 * 3600.0
"""Seconds for which the folder of a session that did not end well stays, for whoever looks into its logs."""
SUFFIX = ".lock"


@contextmanager
def held(session: str) -> Iterator[None]:
    """Within the block the folder of a session is in use; it goes at the end, unless the block ends by an error."""
    lock = Path(session + SUFFIX)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # a disk that is full by now; then nobody tidies up, and nothing else is amiss
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
        _remove(lock)
    finally:
        os.close(descriptor)


def tidy(folder: str, now: float | None = None) -> None:
    """Remove what sessions left in `folder` whose driver was killed or failed more than a day ago."""
    before = (time.time() if now is None else now) - KEPT
    for lock in Path(folder).glob("session_*" + SUFFIX):
        # An error: it is in use, another driver removed it meanwhile, or the file system has no locks.
        with contextlib.suppress(OSError):
            if lock.stat().st_mtime > before:
                continue
            descriptor = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(lock)
            finally:
                os.close(descriptor)


def _remove(lock: Path) -> None:
    session = lock.with_name(lock.name.removesuffix(SUFFIX))
    shutil.rmtree(session, ignore_errors=True)  # a process of Ray's may still write its last words
    if not session.exists():
        lock.unlink(missing_ok=True)
