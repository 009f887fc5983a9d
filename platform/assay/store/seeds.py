"""Trainings of one configuration with several seeds: which trials repeat which, their mean, worst and spread.

A trial's seed of training follows from its number. A repeat is a trial of its own, with the configuration of an earlier
one and its own number; it takes no part in the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.contracts import Plain
from assay.store.trial_log import Record


@dataclass(frozen=True)
class Spread:
    """An objective over the seeds of a configuration. worst: the least good of them. sd: None for a single one."""

    mean: float
    worst: float
    sd: float | None
    values: tuple[float, ...]

    def __str__(self) -> str:
        told = f"{self.mean:.3f}" if self.sd is None else f"{self.mean:.3f} ± {self.sd:.3f}"
        return f"{told}, worst {self.worst:.3f}"


def repeats(records: Mapping[int, Record]) -> dict[int, list[int]]:
    """Trial -> the trials that repeat it with other seeds, in whatever state; only those that have any."""
    found: dict[int, list[int]] = {}
    for number, record in sorted(records.items()):
        if record.repeats is not None:
            found.setdefault(record.repeats, []).append(number)
    return found


def complete(records: Mapping[int, Record], number: int) -> list[int]:
    """A complete trial and its complete repeats; itself alone while one of them has not ended.

    So a configuration is not judged by some of its seeds while others train.
    """
    others = [n for n, record in records.items() if record.repeats == number]
    if any(records[n].state == "running" for n in others):
        return [number]
    return [number, *sorted(n for n in others if records[n].state == "complete")]


def averaged(records: Mapping[int, Record], objectives: Mapping[str, str]) -> dict[int, dict[str, float]]:
    """Complete trial -> its objectives, the mean over its seeds; repeats are within the trial that they repeat."""
    several = repeats(records)
    found: dict[int, dict[str, float]] = {}
    for number, record in sorted(records.items()):
        if record.state != "complete" or record.repeats is not None:
            continue
        found[number] = record.values(objectives)
        if number in several:
            each = [records[n].values(objectives) for n in complete(records, number)]
            found[number] = {name: float(np.mean([values[name] for values in each])) for name in objectives}
    return found


def spread(records: Mapping[int, Record], number: int, objectives: Mapping[str, str]) -> dict[str, Spread]:
    """Every objective over the seeds of a complete trial, each `max` or `min`."""
    each = [records[n].values(objectives) for n in complete(records, number)]
    found = {}
    for name, direction in objectives.items():
        values = tuple(one[name] for one in each)
        worst = min(values) if direction == "max" else max(values)
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[name] = Spread(float(np.mean(values)), worst, sd, values)
    return found


def sentence(told: Plain, trial: int | None = None) -> str:
    """What `described` says, for a person: `trial 3 was trained with 3 seeds (...): clean_auroc 0.873 ± 0.012, ...`."""
    which = "the configuration" if trial is None else f"trial {trial}"
    lost = f", {len(told['failed'])} more failed" if told["failed"] else ""
    head = f"{which} was trained with {told['trained']} seeds{lost} (trials {', '.join(map(str, told['trials']))}): "
    found = []
    for name, mean in told["mean"].items():
        sd = told["sd"][name]
        found.append(f"{name} {mean:.3f}{'' if sd is None else f' ± {sd:.3f}'}, worst {told['worst'][name]:.3f}")
    return head + "; ".join(found)


def described(records: Mapping[int, Record], number: int, objectives: Mapping[str, str]) -> Plain:
    """What the manifest of a model says of the seeds of its configuration, on validation images."""
    found = spread(records, number, objectives)
    return {
        "trained": len(complete(records, number)),
        "trials": complete(records, number),
        "failed": [n for n in repeats(records).get(number, []) if records[n].state != "complete"],
        "split": "validation",
        "mean": {name: one.mean for name, one in found.items()},
        "worst": {name: one.worst for name, one in found.items()},
        "sd": {name: one.sd for name, one in found.items()},
    }
