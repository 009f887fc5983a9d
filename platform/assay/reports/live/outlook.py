"""What a sweep has used of its budget and what its remaining trials will take, by those that have ended."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.config import space, space_syntax
from assay.config.search_space import Budget, Price, Resources
from assay.store.trial_log import Record
from assay.sweeps.budget import Spent, amount, taken

QUIET = 120.0
"""Seconds after the last event in which a driver would have noted its spending four times."""


@dataclass(frozen=True)
class Line:
    """A part of the budget: what is used, what is still ahead, and the limit; None where it is unknown."""

    what: str
    used: str
    ahead: str
    limit: str
    enough: str


@dataclass(frozen=True)
class Outlook:
    """How a sweep stands. left: trials that have not ended. seconds: a mean ended trial, None where none has.

    alive: whether its driver wrote within two minutes. together: trials that are training now.
    """

    total: int
    left: int
    together: int
    alive: bool
    seconds: float | None
    lines: tuple[Line, ...]

    @property
    def state(self) -> str:
        """In a word."""
        return "ended" if not self.left else "running" if self.alive else "stopped"


def outlook(
    spec: Mapping[str, Any], records: Mapping[int, Record], spent: Spent, last: float | None, now: float
) -> Outlook:
    """The outlook of a sweep by its spec as plain values and its log; raises ValueError for a damaged spec.

    Trials that were stopped early count as they came, so the forecast holds what early stopping saves.
    """
    ended = [record for record in records.values() if record.state != "running"]
    total = max(_wanted(spec, len(records)), len(records))
    left = total - len(ended)
    alive = left > 0 and last is not None and now - last < QUIET
    training = [record for record in records.values() if record.state == "running" and record.begun is not None]
    took = [record.reports[-1]["seconds"] for record in ended if record.reports]
    seconds = statistics.fmean(took) if took else None
    together = len(training) if alive else 0
    lines = _lines(spec, spent, seconds, left, together)
    return Outlook(total, left, together, alive, seconds, lines)


def _wanted(spec: Mapping[str, Any], least: int) -> int:
    """How many trials there are to be: as many as asked for and configurations there are, then those of other seeds."""
    trainable = spec.get("trainable")
    drawn = {"trainable": trainable} if isinstance(trainable, Mapping) else spec.get("space")
    domains, faults = space_syntax.read(drawn or {})
    most = None if faults or not domains else space.size(domains)
    asked = int((spec.get("search") or {}).get("trials", least))
    return (asked if most is None else min(asked, most)) + int(spec.get("seeds", 1)) - 1


def _lines(spec: Mapping[str, Any], spent: Spent, seconds: float | None, left: int, together: int) -> tuple[Line, ...]:
    budget = Budget.model_validate(spec.get("budget") or {})
    named = {key: value for key, value in (spec.get("resources") or {}).items() if key in Resources.model_fields}
    resources = Resources.model_validate(named)
    ahead = None if seconds is None else taken(resources, seconds * left)
    lines = [_line("CPU-hours", spent.cpu_hours, ahead.cpu_hours if ahead else None, budget.cpu_hours)]
    if spent.gpu_hours or budget.gpu_hours:
        lines.append(_line("GPU-hours", spent.gpu_hours, ahead.gpu_hours if ahead else None, budget.gpu_hours))
    if budget.price:
        price: Price = budget.price
        lines.append(
            _line(f"cost in {price.currency}", spent.cost(price), ahead.cost(price) if ahead else None, budget.cost)
        )
    if left and seconds is not None and together:
        wall = seconds * left / together
        limit = "–" if budget.wall_minutes is None else ago(60 * budget.wall_minutes)
        enough = "–" if budget.wall_minutes is None else "yes" if wall <= 60 * budget.wall_minutes else "no"
        lines.append(Line("time from now", "–", ago(wall), limit, enough))
    return tuple(lines)


def _line(what: str, used: float, ahead: float | None, limit: float | None) -> Line:
    enough = "–" if limit is None or ahead is None else "yes" if used + ahead <= limit else "no"
    return Line(
        what, amount(used), "–" if ahead is None else amount(ahead), "–" if limit is None else f"{limit:g}", enough
    )


def ago(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 days`: a time span in one unit."""
    for size, unit in ((86400, " days"), (3600, " h"), (60, " min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0, seconds):.0f} s"


def clock(at: float) -> str:
    """A moment as it is written on the page, in this machine's time zone: `11-29 16:04`."""
    return time.strftime("%m-%d %H:%M", time.localtime(at))
