"""What the sections about a sweep share: its objectives, their intervals, the audited trial."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from assay.metrics import groups
from assay.metrics.intervals import Interval, newcombe
from assay.reports.sections._html import words
from assay.store import parquet
from assay.store.audit_reader import Audit, Columns

CONFIDENCE = 0.95
NO_SWEEP = "The model did not come from a sweep, or the table of its trials was not kept with this audit."


def objectives(trials: Columns) -> list[str]:
    """The columns of the objectives: clean, robust, the rest."""
    return sorted((name for name in trials if name.startswith("objective.")), key=_clean_then_robust)


def _clean_then_robust(name: str) -> tuple[bool, bool, str]:
    return "clean" not in name, "robust" not in name, name


def parameters(trials: Columns) -> list[str]:
    """The columns of what varied."""
    return [name for name in trials if name.startswith("parameter.")]


def called(name: str) -> str:
    """What the page calls a column of an objective or a parameter."""
    return words(name.partition(".")[2])


def audited(audit: Audit, trials: Columns) -> int | None:
    """The number of the trial whose model was audited."""
    same = (trials["model"] == audit.info["model"]).nonzero()[0]
    return int(trials["trial"][same[0]]) if len(same) else audit.info.get("trial")


def figure_of(audit: Audit, name: str, value: Any) -> Interval | None:
    """An objective with its interval over the validation images; None where it has no value or the counts are lost."""
    counts = groups.of_split(audit.info["dataset"], "validation")
    if not counts or "auroc" not in name or not 0 <= float(value) <= 1:
        return None
    return Interval(float(value), *newcombe(float(value), *counts, CONFIDENCE))


def kept(audit: Audit, name: str, schema: pa.Schema) -> Columns | None:
    """The table `<name>.parquet` of an audit, or None where it wrote none. Raises DataError for a damaged one."""
    key = f"{name}.parquet"
    if not audit.folder.exists(key):
        return None
    table = parquet.whole(audit.folder, [key], schema, f"delete it and make it with: {audit.command}")
    return {column: table[column].to_numpy() for column in schema.names}
