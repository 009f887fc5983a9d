"""The log of a sweep as far as it was written when last looked at: only what is new is read, and what is damaged told.

`assay sweep` and `assay trials` refuse a damaged log, as they go on from it; a page that only shows it leaves out what
cannot be read, and says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from assay.errors import StoreError
from assay.reports.live.frame import DAMAGED
from assay.store import formats, trial_log
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps.budget import Spent

BEGINNING = 4096
"""Bytes of a segment by which it is known again; its first line holds the moment at which it was written."""
TOLD = 5
"""How many damaged lines are named one by one."""
NOTHING = Spent()


@dataclass
class _Segment:
    """How far a file of the log was read: to the end of its last whole line."""

    stamp: tuple[int, float]
    beginning: bytes = b""
    read: int = 0
    lines: int = 0


@dataclass
class FollowedLog:
    """The records of a sweep. version: grows with every change. last: when its last event was written."""

    store: Store
    sweep: str
    records: dict[int, Record] = field(default_factory=dict)
    spent: Spent = NOTHING
    last: float | None = None
    version: int = 0
    damaged: list[str] = field(default_factory=list)
    _segments: dict[str, _Segment] = field(default_factory=dict)

    def look(self) -> None:
        """Read what was written since the last look; raises StoreError, or DataError for a newer format."""
        folder = f"sweeps/{self.sweep}/log"
        stamps = self.store.stamps(folder)
        changed = [name for name, stamp in stamps.items() if self._stamp(name) != stamp]
        if not changed and len(stamps) == len(self._segments):
            return
        contents = dict(zip(changed, self.store.read_all([f"{folder}/{name}" for name in changed]), strict=True))
        self.version += 1
        if not self._only_added(list(stamps), contents):
            self._forget()
            contents |= {name: self.store.read(f"{folder}/{name}") for name in stamps if name not in contents}
        for name in sorted(contents):
            self._take(name, contents[name], stamps[name])

    def said(self) -> list[str]:
        """What was left out, a sentence each."""
        more = len(self.damaged) - TOLD
        return [*self.damaged[:TOLD], *([f"and {more} more places"] if more > 0 else [])]

    def _stamp(self, name: str) -> tuple[int, float] | None:
        return self._segments[name].stamp if name in self._segments else None

    def _only_added(self, names: list[str], contents: dict[str, bytes]) -> bool:
        """Whether the log is what it was with lines at its end; it is not where a sweep was replaced by another."""
        known = sorted(self._segments)
        if names[: len(known)] != known or any(name in contents for name in known[:-1]):
            return False
        return all(
            content.startswith(self._segments[name].beginning) and len(content) >= self._segments[name].read
            for name, content in contents.items()
            if name in self._segments
        )

    def _forget(self) -> None:
        self.records, self.spent, self.last, self.damaged, self._segments = {}, NOTHING, None, [], {}

    def _take(self, name: str, content: bytes, stamp: tuple[int, float]) -> None:
        """The whole lines of a segment that are new; the last piece may still be written."""
        segment = self._segments.setdefault(name, _Segment(stamp))
        whole = content.rfind(b"\n") + 1
        new = content[segment.read : whole]
        for line in new.split(b"\n")[:-1]:
            segment.lines += 1
            if line:
                self._event(line, f"{self.store.place(f'sweeps/{self.sweep}/log/{name}')} line {segment.lines}")
        segment.stamp, segment.read = stamp, max(segment.read, whole)
        segment.beginning = content[: min(whole, BEGINNING)]

    def _event(self, line: bytes, place: str) -> None:
        try:
            event: Any = json.loads(line)
            formats.check(event.pop(formats.FIELD, formats.FIRST), "log", place)
            at = float(event.get("at", 0)) or None
            if event["event"] == "spent":
                self.spent += Spent(float(event["cpu_hours"]), float(event["gpu_hours"]))
            trial_log.take(self.records, event)
            self.last = at or self.last
        except DAMAGED:
            self.damaged.append(f"{place} is damaged and left out")
        except StoreError as error:
            self.damaged.append(f"{place} is left out: {error}")
