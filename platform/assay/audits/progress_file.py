"""How far an audit is, in a small hidden file of its folder while it runs, for whoever watches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from assay.errors import StoreError
from assay.hashing import canonical
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.audits.audit import Progress

FILE = ".progress.json"
"""Hidden, so it is no part of what is signed or verified."""
EVERY = 2.0
"""Seconds between two writes."""
QUIET = 900.0
"""Seconds after which nothing is said to run any more: one piece of work may take many minutes."""


class ProgressFile:
    """Writes every step of an audit at most every two seconds, and passes it on."""

    def __init__(self, store: Store, audit: str, then: Callable[[Progress], object]) -> None:
        self.store, self.key, self.then, self._at = store, f"audits/{audit}/{FILE}", then, 0.0

    def __call__(self, progress: Progress) -> None:
        """A piece of work is done."""
        if time.monotonic() - self._at >= EVERY:
            self._at = time.monotonic()
            content = {"done": progress.done, "total": progress.total, "work": progress.work, "at": time.time()}
            self.store.write(self.key, canonical(content))
        self.then(progress)

    def remove(self) -> None:
        """The audit has ended."""
        self.store.remove(self.key)


def told(store: Store, audit: str, now: float) -> str:
    """`running: 12 of 40 done, last pgd, 5 s ago`; "" where an audit wrote no progress, or what it wrote is damaged."""
    try:
        found = store.read_json(f"audits/{audit}/{FILE}")
        done, total, work, at = int(found["done"]), int(found["total"]), str(found["work"]), float(found["at"])
    except (StoreError, KeyError, TypeError, ValueError):
        return ""
    since = max(0.0, now - at)
    return f"{'running' if since < QUIET else 'stopped'}: {done} of {total} done, last {work}, {since:.0f} s ago"
