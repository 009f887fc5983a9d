"""Asynchronous successive halving on one or several objectives.

Source: ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2). With several
objectives trials of a rung are ordered by non-dominated rank, ties by the mean of the objectives. The fidelity is
our own epoch counter, which never restarts; rungs are rebuilt by giving the reports again in their old order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.choice import ranks


class Halving:
    """Which trials go on: the best 1/reduction of those seen at each rung."""

    def __init__(self, metrics: Sequence[str], directions: Mapping[str, str], grace: int, reduction: int) -> None:
        """Rungs at `grace`, `grace * reduction`, `grace * reduction ** 2`, ... epochs."""
        self.metrics, self.directions = tuple(metrics), directions
        self.grace, self.reduction = grace, reduction
        self.rungs: dict[int, dict[int, tuple[float, ...]]] = {}
        self.stopped: set[int] = set()

    def goes_on(self, trial: int, epoch: int, values: Mapping[str, float]) -> bool:
        """Record a report and say whether the trial goes on; decided once per trial and rung, and then kept to."""
        level = self.grace
        while level <= epoch:
            rung = self.rungs.setdefault(level, {})
            if trial not in rung:
                rung[trial] = tuple(values[m] if self.directions.get(m) != "min" else -values[m] for m in self.metrics)
                if not self._is_among_best(trial, rung):
                    self.stopped.add(trial)
            level *= self.reduction
        return trial not in self.stopped

    def levels(self, epochs: int) -> list[int]:
        """The rungs, in epochs, that a trial of so many epochs passes."""
        found, level = [], self.grace
        while level < epochs:
            found.append(level)
            level *= self.reduction
        return found

    def _is_among_best(self, trial: int, rung: Mapping[int, tuple[float, ...]]) -> bool:
        trials = list(rung)
        rank = dict(zip(trials, ranks([rung[t] for t in trials]), strict=True))
        order = sorted(trials, key=lambda t: (rank[t], -sum(rung[t]), t))
        return order.index(trial) < max(1, len(trials) // self.reduction)
