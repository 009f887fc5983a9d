"""What a sweep has spent, in hours its trials held CPU cores and GPUs, and whether its budget is used up.

Every half minute a run records its spending in the trial log, so that a resumed sweep can add to it. Trials that fail
or are retried count as well, as they held their resources. The last half minute of a killed run is lost, and nodes that
are starting, idle or only run the head are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.config.search_space import Budget, Price, Resources
from assay.store.trial_log import Event, Spending

if TYPE_CHECKING:
    from assay.cluster.started_workers import UpTime

NOTED_EVERY = 30.0
"""Seconds between two records in the trial log."""

HOUR = 3600.0


@dataclass(frozen=True)
class Spent:
    """Hours of cores and of GPUs; half a GPU for an hour counts as half an hour."""

    cpu_hours: float = 0.0
    gpu_hours: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """The sum of both."""
        return Spent(self.cpu_hours + other.cpu_hours, self.gpu_hours + other.gpu_hours)

    def __sub__(self, other: Spent) -> Spent:
        """How much more this is."""
        return Spent(self.cpu_hours - other.cpu_hours, self.gpu_hours - other.gpu_hours)

    def cost(self, price: Price) -> float:
        """The cost in the price's currency."""
        return self.cpu_hours * price.cpu_hour + self.gpu_hours * price.gpu_hour

    def plain(self, price: Price | None) -> dict[str, object]:
        """As JSON values, with the cost where there is a price."""
        cost = {"cost": self.cost(price), "currency": price.currency} if price else {}
        return {"cpu_hours": self.cpu_hours, "gpu_hours": self.gpu_hours, **cost}

    def text(self, price: Price | None) -> str:
        """As text: `1.20 CPU-hours, 0.30 GPU-hours, 0.35 USD`."""
        hours = {"CPU-hours": self.cpu_hours, "GPU-hours": self.gpu_hours}
        parts = [f"{amount(of)} {name}" for name, of in hours.items() if of or name == "CPU-hours"]
        return ", ".join([*parts, *([f"{amount(self.cost(price))} {price.currency}"] if price else [])])


def amount(value: float) -> str:
    """A number of hours or of money as text: two decimals, or more if it is small."""
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def taken(resources: Resources, seconds: float) -> Spent:
    """What one trial spends in this time."""
    return Spent(resources.cpu * seconds / HOUR, resources.gpu * seconds / HOUR)


def spent(events: Iterable[Event]) -> Spent:
    """What the runs of a sweep have spent, according to the events of its log."""
    notes = [event for event in events if event["event"] == "spent"]
    return Spent(sum(note["cpu_hours"] for note in notes), sum(note["gpu_hours"] for note in notes))


def up(events: Iterable[Event]) -> Spent:
    """For how long the workers that an autoscaler started were up in the runs of a sweep, by the events of its log."""
    notes = [event for event in events if event["event"] == "spent"]
    return Spent(
        sum(note.get("up_cpu_hours", 0.0) for note in notes), sum(note.get("up_gpu_hours", 0.0) for note in notes)
    )


def over(budget: Budget, total: Spent, wall_seconds: float = 0.0) -> dict[str, str]:
    """The parts of a budget that are used up, each with a text such as `cost: 20.03 of 20 USD`."""
    price = budget.price or Price()
    used = {
        "wall_minutes": (wall_seconds / 60, ""),
        "gpu_hours": (total.gpu_hours, ""),
        "cpu_hours": (total.cpu_hours, ""),
        "cost": (total.cost(price), f" {price.currency}"),
    }
    limits = {name: limit for name in used if (limit := getattr(budget, name))}
    return {
        name: f"{name}: {amount(used[name][0])} of {limit:g}{used[name][1]}"
        for name, limit in limits.items()
        if used[name][0] >= limit
    }


class Meter:
    """What a sweep has spent so far: in earlier runs by the log, in this one by the trials that hold resources.

    Call `start` with the resources of a trial, then `begins` and `ends` for the worker of every trial.
    """

    def __init__(self, budget: Budget, before: Spent = Spent(), clock: Callable[[], float] = time.monotonic) -> None:
        self.budget, self.before, self.clock = budget, before, clock
        self.workers: UpTime | None = None  # of a joined cluster: counted elsewhere, noted here
        self.start(Resources())
        self._up = Spent()  # of the workers, recorded in the log so far
        self._ended = self._noted = Spent()  # in this run: by trials that ended; recorded in the log so far
        self._since: dict[str, float] = {}  # running trial -> when its worker started

    def start(self, resources: Resources) -> None:
        """Start the run and its wall time; `resources` is what every trial takes."""
        self.resources = resources
        self.started = self.noted_at = self.clock()

    def begins(self, trial: str) -> None:
        """A worker has started on this trial."""
        self._since[trial] = self.clock()

    def ends(self, trial: str) -> None:
        """The worker of this trial is free again, or has died."""
        if trial in self._since:
            self._ended += taken(self.resources, self.clock() - self._since.pop(trial))

    @property
    def running(self) -> int:
        """How many trials have a worker."""
        return len(self._since)

    def spent(self) -> Spent:
        """Spent by all runs until now."""
        return self.before + self._of_this_run()

    def _of_this_run(self) -> Spent:
        now = self.clock()
        return self._ended + taken(self.resources, sum(now - began for began in list(self._since.values())))

    def over(self) -> dict[str, str]:
        """The parts of the budget that are used up, each with a text."""
        return over(self.budget, self.spent(), self.clock() - self.started)

    def text(self) -> str:
        """What was spent so far, as text."""
        return self.spent().text(self.budget.price)

    def note(self, *, now: bool = False) -> Spending | None:
        """The log event for what was spent since the last one; None within half a minute of it, unless `now`."""
        if not now and self.clock() - self.noted_at < NOTED_EVERY:
            return None
        total = self._of_this_run()
        new = total - self._noted
        self._noted, self.noted_at = total, self.clock()
        event: Spending = {"event": "spent", "cpu_hours": new.cpu_hours, "gpu_hours": new.gpu_hours}
        if self.workers:
            now_up = Spent(self.workers.cpu_hours, self.workers.gpu_hours)
            since, self._up = now_up - self._up, now_up
            if since != Spent():
                event |= {"up_cpu_hours": since.cpu_hours, "up_gpu_hours": since.gpu_hours}
        return event if new != Spent() or "up_cpu_hours" in event else None
