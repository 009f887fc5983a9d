"""A recorded sweep played again on virtual workers: the real searcher and early stopping, trials that take no time.

A sweep is recorded where its log is in the store: the reports of its complete trials, with the seconds of training
that each had taken, are the curves. What a simulated trial reports comes from the recorded trial whose parameters are
nearest to its own, so thousands of trials on a thousand workers show in minutes what a search space, a sampler or a
rung would have done. A simulated figure is one of a recorded trial, not a measurement.
Idea: Syne Tune's simulator backend (Salinas et al. 2022).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from assay.config.search_space import Spec
from assay.errors import SweepError
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps.study import Study


@dataclass(frozen=True)
class Report:
    """What a recorded trial said at one epoch.

    seconds: of training since its beginning. rung: the weaker attack that the values are under; "" for the full one.
    """

    epoch: int
    values: Mapping[str, float]
    seconds: float
    rung: str = ""


@dataclass(frozen=True)
class Curve:
    """A recorded trial: its parameters under Optuna's names, and its reports in order."""

    parameters: Mapping[str, Any]
    reports: tuple[Report, ...]


CurveOf: TypeAlias = Callable[[Mapping[str, Any]], Curve]
"""A trial's parameters, under Optuna's names -> its curve."""


@dataclass(frozen=True)
class Judged:
    """The decision about one report: processor seconds, the report's epoch, and whether the trial ended with it."""

    seconds: float
    epoch: int
    ended: bool


@dataclass
class Simulated:
    """A simulated sweep: its study, how long it would have taken, and the processor seconds of its decisions.

    ended: trial -> the simulated second at which it was complete or stopped.
    """

    study: Study
    seconds: float = 0.0
    ended: dict[int, float] = field(default_factory=dict)
    asking: list[float] = field(default_factory=list)
    judging: list[Judged] = field(default_factory=list)


def curves(spec: Spec, records: Mapping[int, Record]) -> list[Curve]:
    """The complete trials of a recorded sweep; raises SweepError where there is none."""
    names = list(spec.objectives)

    def reports(record: Record) -> tuple[Report, ...]:
        return tuple(
            Report(row["epoch"], {name: row["values"][name] for name in names}, row["seconds"])
            for row in record.reports
        )

    found = [Curve(record.parameters, reports(record)) for record in records.values() if record.state == "complete"]
    if not found:
        raise SweepError(f"sweep '{spec.name}' has no complete trial to simulate from; let one end first")
    return found


def simulate(spec: Spec, store: Store, curve_of: CurveOf, workers: int) -> Simulated:
    """Run the whole search of `spec` on so many virtual workers; the trial log is written to the store as ever.

    curve_of: what a trial of these parameters reports, such as `Nearest(curves(...)).to`. Every worker takes the next
    order as soon as it is free. Raises SweepError where the store holds the sweep already.
    """
    study = Study(spec, store)
    if study.records:
        raise SweepError(f"sweep '{spec.name}' exists in {store.root}; simulate into a store of its own")
    found = Simulated(study)
    events: list[tuple[float, int, int]] = []  # when a worker is done with what, trial, number of its report
    playing: dict[int, Curve] = {}

    def start(now: float) -> None:
        began = time.process_time()
        order = study.next_order()
        found.asking.append(time.process_time() - began)
        if order is not None:
            playing[order.number] = curve = curve_of(study.records[order.number].parameters)
            heapq.heappush(events, (now + curve.reports[0].seconds, order.number, 0))

    for _ in range(min(workers, spec.trials)):
        start(0.0)
    while events:
        now, trial, number = heapq.heappop(events)
        found.seconds = now
        curve = playing[trial]
        report = _report(curve, number, spec)
        began = time.process_time()
        stopped = study.report(trial, report)
        found.judging.append(Judged(time.process_time() - began, report["epoch"], stopped))
        if stopped:
            found.ended[trial] = now
            del playing[trial]
            start(now)
        else:
            taken = curve.reports[number + 1].seconds - curve.reports[number].seconds
            heapq.heappush(events, (now + taken, trial, number + 1))
    study.log.close()
    return found


def _report(curve: Curve, number: int, spec: Spec) -> dict[str, Any]:
    """A report as a trial makes it, with the best epoch so far as a trial keeps it: none while on a lower rung."""
    at, last = curve.reports[number], curve.reports[-1]
    signs = {name: 1 if direction == "max" else -1 for name, direction in spec.directions.items()}
    full = [report for report in curve.reports[: number + 1] if not report.rung]
    kept = max(full, key=lambda r: sum(signs[name] * r.values[name] for name in signs), default=Report(at.epoch, {}, 0))
    rung = {"rung": at.rung, "checked": {}} if at.rung else {}
    return {
        **rung,
        "epoch": at.epoch,
        "epochs": last.epoch,
        "values": dict(at.values),
        "kept": {"epoch": kept.epoch, **kept.values},
        "losses": {},
        "seed": 0,
        "attempts": 1,
        "seconds": at.seconds,
        "done": number + 1 == len(curve.reports),
        "model": "",
    }


class Nearest:
    """Finds the recorded trial nearest to a configuration: numbers by their rank's distance, others by being equal."""

    def __init__(self, recorded: Sequence[Curve]) -> None:
        self.recorded = recorded
        self.columns: dict[str, NDArray[np.float64]] = {}
        self.labels: dict[str, list[Any]] = {}
        for name in sorted({name for curve in recorded for name in curve.parameters}):
            values = [curve.parameters.get(name) for curve in recorded]
            if all(value is None or _is_number(value) for value in values):
                self.columns[name] = np.array([np.nan if value is None else float(value) for value in values])
            else:
                self.labels[name] = values

    def to(self, parameters: Mapping[str, Any]) -> Curve:
        """The nearest curve; of equally near ones the first. A parameter that only one of the two has counts 1."""
        distance = np.zeros(len(self.recorded))
        for name, column in self.columns.items():
            span = np.nanmax(column) - np.nanmin(column) or 1.0
            given = parameters.get(name)
            apart = np.isnan(column).astype(float) if given is None else np.abs(column - float(given)) / span
            distance += np.where(np.isnan(apart), 1.0, 1.0 - apart if given is None else np.minimum(apart, 1.0))
        for name, values in self.labels.items():
            distance += np.array([value != parameters.get(name) for value in values], dtype=float)
        return self.recorded[int(distance.argmin())]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
