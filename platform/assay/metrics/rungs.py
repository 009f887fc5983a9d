"""How well the rungs of a fidelity ladder ranked trials: cheap figures beside those of the full attack.

Trials of a random share were measured under both at every rung, whether they were stopped there or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from scipy.stats import spearmanr

from assay.store.schemas import RUNGS
from assay.store.trial_log import Record

METRIC = "robust_auroc"
FEWEST = 4
"""Checked trials that a rank correlation needs."""
MISLED = 0.1
"""A fall of the AUROC under the full attack that is reported: a cheap attack that finds so much less may be masked."""


@dataclass(frozen=True)
class RungQuality:
    """A lower rung.

    passed, stopped: trials measured at it, and those that ended there. checked: how many also under the full attack.
    correlation: Spearman's, of both figures of the checked; None for too few. regret: by how much the best checked
    trial that was stopped lies above the best that went on, under the full attack; None where either is missing.
    misled: trial -> (cheap, full) figure, where they differ by more than MISLED.
    """

    rung: str
    passed: int
    stopped: int
    checked: int
    correlation: float | None
    regret: float | None
    misled: Mapping[int, tuple[float, float]]

    def __str__(self) -> str:
        told = [
            f"rung {self.rung}: {self.passed} trials, {self.stopped} stopped, {self.checked} checked by the full attack"
        ]
        if self.correlation is None:
            told.append(f"a rank correlation needs {FEWEST} checked trials")
        else:
            told.append(f"rank correlation {self.correlation:.2f}")
        if self.regret is not None:
            told.append(f"regret {max(0.0, self.regret):.3f}")
        return "; ".join([*told, *self.fallen()])

    def fallen(self) -> list[str]:
        """The trials by which the rung was misled, in words."""
        return [
            f"trial {trial} falls from {cheap:.3f} to {full:.3f}: the cheap attack misled"
            for trial, (cheap, full) in self.misled.items()
        ]


def quality(records: Mapping[int, Record]) -> list[RungQuality]:
    """Every lower rung that a trial was measured at, in the order of the ladder."""
    reports: dict[str, dict[int, tuple[float, float | None]]] = {}
    ended: dict[int, str] = {}
    for number, record in records.items():
        if record.repeats is not None:  # with another seed, and never stopped
            continue
        for report in record.reports:
            if (rung := report.get("rung")) and METRIC in report["values"]:
                full = report.get("checked", {}).get(METRIC)
                reports.setdefault(rung, {})[number] = (report["values"][METRIC], full)
        if record.state == "pruned":
            ended[number] = record.reports[-1].get("rung", "")
    return [_quality(rung, figures, ended) for rung, figures in reports.items()]


def table(records: Mapping[int, Record]) -> pa.Table:
    """RUNGS: a row for every lower rung."""
    rows = [
        {
            "rung": one.rung,
            "passed": one.passed,
            "stopped": one.stopped,
            "checked": one.checked,
            "correlation": float("nan") if one.correlation is None else one.correlation,
            "regret": float("nan") if one.regret is None else max(0.0, one.regret),
            "misled": "; ".join(one.fallen()),
        }
        for one in quality(records)
    ]
    return pa.Table.from_pylist(rows, schema=RUNGS)


def _quality(rung: str, figures: Mapping[int, tuple[float, float | None]], ended: Mapping[int, str]) -> RungQuality:
    checked = {number: (cheap, full) for number, (cheap, full) in figures.items() if full is not None}
    stopped = {number for number in figures if ended.get(number) == rung}
    lost = [full for number, (_, full) in checked.items() if number in stopped]
    went = [full for number, (_, full) in checked.items() if number not in stopped]
    varied = len({cheap for cheap, _ in checked.values()}) > 1 and len({full for _, full in checked.values()}) > 1
    correlation = None
    if len(checked) >= FEWEST and varied:
        correlation = float(spearmanr(*zip(*checked.values(), strict=True)).statistic)
    return RungQuality(
        rung,
        len(figures),
        len(stopped),
        len(checked),
        correlation,
        max(lost) - max(went) if lost and went else None,
        {number: pair for number, pair in checked.items() if pair[0] - pair[1] > MISLED},
    )
