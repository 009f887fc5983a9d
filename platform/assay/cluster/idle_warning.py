"""Says that nothing runs, where a cluster's nodes do not come: else a driver would wait in silence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from assay.cluster.capacity import IN_RAY

PATIENCE = 60.0
"""Seconds without a worker until it is said, and from then on until it is said again."""


class Waiting:
    """Warns each minute for which no `what` (a trial, a piece of work) has had a worker.

    need: what each takes, by the keys of `resources:`. has: what the cluster has now, as Ray calls it.
    """

    def __init__(
        self,
        what: str,
        need: Mapping[str, float | None],
        has: Callable[[], Mapping[str, float]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.has, self.clock = what, has, clock
        self.need = {name: amount for name, amount in need.items() if amount}
        self.since = self.told = clock()

    def look(self, runs: bool) -> None:
        """Take note of whether one has a worker now."""
        now = self.clock()
        if runs:
            self.since = self.told = now
        elif now - self.told >= PATIENCE:
            self.told, has = now, self.has()
            there = {name: has.get(key, 0) / unit for name, (key, unit) in IN_RAY.items() if name in self.need}
            logging.getLogger("assay").warning(
                "no %s has had a worker for %.0f s; each needs %s and the cluster has %s; look at `ray status`",
                self.what,
                now - self.since,
                words(self.need),
                words(there),
            )


def words(resources: Mapping[str, float]) -> str:
    """`1 cpu, 0.25 gpu`."""
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
