"""Asynchronous successive halving on one or several objectives.

Source: ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2). With several
objectives, the trials of a rung are ordered by non-dominated rank, ties by the mean of the objectives. Progress is
measured in epochs by our own counter, which never restarts; rungs are rebuilt by replaying the reports in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from assay.sweeps.nondominated import NondominatedFronts, SortedScores


class SuccessiveHalving:
    """Decides which trials continue: the best 1/reduction of those seen at each rung."""

    def __init__(
        self,
        metrics: Sequence[str],
        directions: Mapping[str, str],
        grace: int,
        reduction: int,
        ladder: Sequence[int] = (),
    ) -> None:
        """Rungs at `grace`, `grace * reduction`, `grace * reduction ** 2`, ... epochs, or those of the ladder."""
        self.ladder = tuple(ladder)
        self.metrics, self.directions = tuple(metrics), directions
        self.grace, self.reduction = grace, reduction
        self.rungs: dict[int, dict[int, bool]] = {}  # per rung, whether each trial was among the best
        self._order: dict[int, SortedScores | NondominatedFronts] = {}
        self.stopped: set[int] = set()

    def goes_on(self, trial: int, epoch: int, values: Mapping[str, float]) -> bool:
        """Record a report and return whether the trial continues; decided once per trial and rung, never revised."""
        for level in self._up_to(epoch):
            rung = self.rungs.setdefault(level, {})
            if trial not in rung:
                order = self._order.setdefault(
                    level, SortedScores() if len(self.metrics) == 1 else NondominatedFronts()
                )
                point = tuple(values[m] if self.directions.get(m) != "min" else -values[m] for m in self.metrics)
                rung[trial] = order.add(point, trial, max(1, (len(rung) + 1) // self.reduction))
                if not rung[trial]:
                    self.stopped.add(trial)
        return trial not in self.stopped

    def levels(self, epochs: int) -> list[int]:
        """The rungs, in epochs, that a trial of this many epochs passes."""
        return list(self._up_to(epochs - 1))

    def _up_to(self, epoch: int) -> Iterator[int]:
        """The rungs up to an epoch."""
        if self.ladder:
            yield from (level for level in self.ladder if level <= epoch)
            return
        level = self.grace
        while level <= epoch:
            yield level
            level *= self.reduction
