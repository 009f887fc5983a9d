"""A store that is watched: its pages, made anew from what changed in it since they were asked for last."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from assay.errors import AssayError
from assay.reports.live import frame, overview
from assay.reports.live.audits import LiveAudits
from assay.reports.live.frame import DAMAGED, problem
from assay.reports.live.sweeps import LiveSweep
from assay.reports.sections._html import Section
from assay.store.store import Store

AFTER = {True: 0.5, False: 5.0}
"""Seconds after which a store is looked at again: a local one, one in object storage."""
REGISTER_AFTER = 30.0
"""The register reads every audit."""


class NotThereError(Exception):
    """An address that leads to nothing in the store."""


@dataclass
class Watched:
    """The pages of a store, one made at a time. base: the beginning of every address, with the token.

    Every method raises NotThereError for a name that the store does not have. What cannot be read is said on the page.
    """

    store: Store
    base: str
    clock: Callable[[], float] = time.time
    after: float | None = None
    _sweeps: dict[str, LiveSweep] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)
    _looked: dict[str, float] = field(default_factory=dict)
    _register: tuple[float, Section] | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._one = threading.Lock()
        self._audits = LiveAudits(self.store)
        self._after = AFTER[self.store.local] if self.after is None else self.after

    def first(self) -> str:
        """The first page."""
        with self._lock:
            now = self.clock()
            names = self.store.names("sweeps")
            self._sweeps = {name: one for name, one in self._sweeps.items() if name in names}
            self._problems = {name: why for name, why in self._problems.items() if name in names}
            live = [one for name in names if (one := self._look(name)) is not None]
            sections = [overview.sweeps(live, self._problems, self.base, now)]
            if studies := overview.studies(self.store, self.base):
                sections.append(studies)
            sections += [overview.audits(self._audits.lines(now), self.base), self._registered(now)]
            return self._page("Store", "", sections)

    def sweep(self, name: str, page: int = 1) -> str:
        """The page of a sweep; page: of its table of all trials."""
        with self._lock:
            self._require("sweeps", name)
            live = self._look(name)
            if live is None:
                sections = [Section("State", problem(self._problems[name]))]
            else:
                try:
                    sections = live.sections(self.clock(), page)
                except DAMAGED as error:
                    sections = [Section("State", problem(_damaged(error)))]
            return self._page(f"Sweep {name}", name, sections)

    def audit(self, name: str) -> str:
        """The page of an audit."""
        with self._lock:
            self._require("audits", name)
            sections = self._audits.sections(name, self.base, self.clock())
            return self._page(f"Audit {name}", name, sections)

    def file(self, folder: str, name: str, file: str) -> bytes:
        """A finished page of the store: a report, or the page of a study."""
        self._require(folder, name)
        if not self.store.exists(f"{folder}/{name}/{file}"):
            raise NotThereError(file)
        return self.store.read(f"{folder}/{name}/{file}")

    def _require(self, folder: str, name: str) -> None:
        if name not in self.store.names(folder):
            raise NotThereError(name)

    def _look(self, name: str) -> LiveSweep | None:
        """The sweep as it is now; None where it cannot be read, and then _problems says why."""
        live = self._sweeps.get(name) or LiveSweep(self.store, name, self._aside)
        now = time.monotonic()
        if name in self._sweeps and now - self._looked[name] < self._after:
            return live
        try:
            live.look()
        except AssayError as error:
            self._problems[name] = str(error)
        except DAMAGED as error:  # values of kinds that no sweep writes
            self._problems[name] = _damaged(error)
        else:
            self._sweeps[name], self._looked[name] = live, now
            self._problems.pop(name, None)
            return live
        self._sweeps.pop(name, None)
        return None

    def _aside(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """The future of a piece of work, one at a time, in a thread that does not keep the process when it ends."""
        future: Future[Any] = Future()

        def run() -> None:
            with self._one:
                try:
                    future.set_result(work(*arguments))
                except Exception as error:  # noqa: BLE001 - raised where the result is asked for
                    future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    def _registered(self, now: float) -> Section:
        if self._register is None or now - self._register[0] >= REGISTER_AFTER:
            today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
            self._register = (now, overview.register(self.store, today))
        return self._register[1]

    def _page(self, title: str, crumb: str, sections: list[Section]) -> str:
        return frame.page(self.base, self.store.root, title, crumb, sections)


def _damaged(error: Exception) -> str:
    why = f"{type(error).__name__}: {error}".splitlines()
    return f"its files are damaged in a way that no sweep writes ({', '.join(line.strip() for line in why[:3])})"
