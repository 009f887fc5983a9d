"""Figures of a sweep or an audit for Prometheus, by the exporter that Ray runs on every node.

Ray puts `ray_` before each name, and shows what a driver said for as long as it runs. `docs/grafana.json` is a
dashboard of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ray.util.metrics import Gauge

FIGURES = {
    "assay_trials": ("Trials of a sweep that are waiting, training, complete, pruned or failed", ("sweep", "state")),
    "assay_reports": ("Evaluations that the trials of a sweep have reported", ("sweep",)),
    "assay_audit_pieces": ("Pieces of an audit that are waiting, running or done", ("audit", "state")),
    "assay_gpus_held": ("GPUs that trials or pieces hold; half of one counts as half", ("work",)),
    "assay_spent": ("Spent by all runs of a sweep: CPU-hours, GPU-hours, money", ("sweep", "unit")),
}
"""Name -> what it says, and its labels. Queues are `state="waiting"`."""
EVERY = 5.0
"""Seconds between two figures; Ray collects them every ten."""


class Board:
    """Says how one sweep or audit goes. Ray must be connected."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._gauges = {name: Gauge(name, said, labels) for name, (said, labels) in FIGURES.items()}
        self._clock, self._shown = clock, float("-inf")

    def due(self) -> bool:
        """Whether it is time to say it again; what is counted for it may take a while."""
        return self._clock() - self._shown >= EVERY

    def sweep(
        self, name: str, states: Mapping[str, int], reports: int, gpus: float, spent: Mapping[str, float]
    ) -> None:
        """states: state -> trials. spent: unit -> amount."""
        self._say("assay_trials", states, "state", sweep=name)
        self._say("assay_spent", spent, "unit", sweep=name)
        self._gauges["assay_reports"].set(reports, {"sweep": name})
        self._gauges["assay_gpus_held"].set(gpus, {"work": name})
        self._shown = self._clock()

    def audit(self, name: str, states: Mapping[str, int], gpus: float) -> None:
        """states: state -> pieces."""
        self._say("assay_audit_pieces", states, "state", audit=name)
        self._gauges["assay_gpus_held"].set(gpus, {"work": name})
        self._shown = self._clock()

    def _say(self, figure: str, by: Mapping[str, float], label: str, **labels: str) -> None:
        for value, amount in by.items():
            self._gauges[figure].set(amount, {**labels, label: value})
