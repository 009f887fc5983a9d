"""A warning while nothing runs because a cluster's nodes do not start; the driver would wait in silence otherwise."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from assay.cluster.capacity import IN_RAY

PATIENCE = 60.0
"""Seconds without a worker until the first warning, and between one warning and the next."""


class Waiting:
    """Warns after every minute in which no `what` (a trial, a piece of work) had a worker.

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
        self.since = self.warned = clock()

    def look(self, runs: bool) -> None:
        """Note whether one has a worker now, and warn if none has had one for long."""
        now = self.clock()
        if runs:
            self.since = self.warned = now
        elif now - self.warned >= PATIENCE:
            self.warned, has = now, self.has()
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
