"""The figures of an audit as typed records: what each measures, its interval, and the samples behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

from assay.store.schemas import METRICS, NEWER


class Figure(NamedTuple):
    """A row of METRICS.

    epsilon: in pixel scale; the severity of a corruption, the largest of a `curve_area`, 0 for clean images. value,
    lower, upper: NaN where they could not be computed. normal_groups, anomaly_groups: how many groups (physical parts)
    hold the samples, as many as there are where these are independent; None in older tables, of independent samples.
    """

    attack: str
    norm: str
    epsilon: float
    regime: str
    defect: str
    metric: str
    value: float
    lower: float
    upper: float
    confidence: float
    normals: int
    anomalies: int
    normal_groups: int | None = None
    anomaly_groups: int | None = None

    @property
    def units(self) -> tuple[int, int]:
        """How many normals and anomalies count as independent."""
        return self.normal_groups or self.normals, self.anomaly_groups or self.anomalies


def table(figures: Iterable[Figure]) -> pa.Table:
    """METRICS of some figures, in their order."""
    return pa.Table.from_pylist([figure._asdict() for figure in figures], schema=METRICS)


def read(metrics: pa.Table) -> list[Figure]:
    """The figures of a table with the columns of METRICS; a missing number is NaN."""
    measured = [name for name in Figure._fields if name not in NEWER]
    columns = [metrics[name].to_numpy(zero_copy_only=False).tolist() for name in measured]
    columns += [metrics[name].to_pylist() for name in Figure._fields[len(measured) :] if name in metrics.column_names]
    return [Figure(*row) for row in zip(*columns, strict=True)]
