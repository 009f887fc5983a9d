"""The trials of a sweep that its sampler looks at: all of a short sweep, of a long one the part that matters.

Optuna's TPE sorts every trial it can see anew for every parameter it draws, so asking grows slower with each trial. It
looks for what tells good trials from others, and learns little from the thousandth poor one.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from assay.sweeps.nondominated import Fronts, Line, Point

ENDED, RUNNING = 500, 200  # so many trials of each are looked at


class History:
    """Numbers of trials. What is looked at follows from how they stand, not from the order in which they ended."""

    def __init__(self, ended: int, running: int) -> None:
        """Of those that ended and of those that run, so many are looked at."""
        self.most_ended, self.most_running = ended, running
        self._running: set[int] = set()
        self._ended: list[int] = []  # complete or pruned, ascending
        self._best: Line | Fronts | None = None

    def note(self, number: int, state: str, point: Point = ()) -> None:
        """Take in how a trial stands now, as its Record says; point: of a complete one, its figures to be maximised."""
        self._running.discard(number)
        if state == "running":
            self._running.add(number)
        elif state in ("complete", "pruned"):  # a trial that failed says nothing of its configuration
            insort(self._ended, number)
        if state == "complete":
            if self._best is None:
                self._best = Line() if len(point) == 1 else Fronts()
            self._best.add(point, number)

    def shown(self) -> Sequence[int]:
        """The trials to look at, ascending.

        Of those that ended the better half are the best of the complete ones, the rest the newest; of those that run
        the newest.
        """
        running = sorted(self._running)[-self.most_running :]
        ended = self._ended
        if len(ended) > self.most_ended:
            best = set(self._best.first(self.most_ended // 2) if self._best else ())
            rest = (number for number in reversed(ended) if number not in best)
            ended = [*best, *(number for number, _ in zip(rest, range(self.most_ended - len(best)), strict=False))]
        return sorted([*ended, *running])
