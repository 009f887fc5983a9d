"""The figures of a finished audit at any confidence, made again of its scores.

metrics.parquet holds intervals at one confidence. Gates that are corrected for multiplicity need wider ones: of the
same scores, with the same resamples, more of them the further out the bounds are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assay.approval.gate import FILTERS, Gate
from assay.errors import DataError
from assay.metrics import certified, corruption, detection, security_curve
from assay.store import parquet, score_matrix
from assay.store.audit_reader import Audit
from assay.store.schemas import CERTIFIED, CORRUPTED

Rows = list[dict[str, Any]]
IN_A_TAIL = 25
"""Resamples beyond each bound: what 1000 have at 95 %."""
FEWEST, MOST = 1000, 20_000
"""Resamples; where 20,000 leave fewer in a tail, the closed forms that widen every interval still say enough."""


def at_any_confidence(audit: Audit, table: pa.Table, gates: Sequence[Gate]) -> Callable[[float], Rows]:
    """A function: confidence -> the rows of METRICS that gates need, made of the scores: no bound of `table` counts.

    table: METRICS of the audit. The order of rows in the audit's files, and how they are split into parts, make no
    difference. The function raises DataError where the scores cannot be read or do not give the figures of `table`.
    """
    own: Rows = table.to_pylist()

    @functools.cache
    def rows(confidence: float) -> Rows:
        return _agreeing(audit, own, _made(audit, gates, confidence))

    return rows


def replicates(confidence: float) -> int:
    """How many resamples an interval of that confidence is made of."""
    return min(MOST, max(FEWEST, round(2 * IN_A_TAIL / (1 - confidence))))


def _made(audit: Audit, gates: Sequence[Gate], confidence: float) -> Rows:
    """The figures of every gate, at every epsilon of the audit, so that it can be said how far a limit is kept."""
    threshold: float = audit.info["threshold"]["value"]
    options: dict[str, Any] = {"replicates": replicates(confidence), "confidence": confidence}
    lines = {(gate.figure["attack"], gate.figure["norm"], gate.figure["regime"]) for gate in gates}
    lines.add((score_matrix.CLEAN, "", ""))
    found = [detection.table(audit.matrix, threshold=threshold, lines=lines, **options)]
    shaken = {gate.attack for gate in gates if gate.norm == "corruption"}
    if shaken and (table := _parts(audit, "corrupted", CORRUPTED)):
        if corruption.MEAN not in shaken:  # which is made of them all
            table = table.filter(pc.is_in(table["corruption"], pa.array(sorted(shaken), pa.string())))
        if len(table):
            corrupted = corruption.figures(table, threshold=threshold, **options)
            found.append(corrupted.filter(pc.is_in(corrupted["attack"], pa.array(sorted(shaken), pa.string()))))
    if any(gate.attack == certified.ATTACK for gate in gates) and (table := _parts(audit, "certified", CERTIFIED)):
        clean = pa.table({"sample": audit.matrix.samples, "clean_score": audit.matrix.clean})
        found.append(certified.figures(table.sort_by("sample"), clean, threshold=threshold, **options))
    found.append(security_curve.areas(pa.concat_tables(found)))
    made: Rows = pa.concat_tables(found).to_pylist()
    return made


def _parts(audit: Audit, folder: str, schema: pa.Schema) -> pa.Table | None:
    """All parts of a folder of the audit as one table, or None where there are none."""
    parts = [part.cast(schema) for part in parquet.parts(audit.folder, audit.parts(folder), schema.names)]
    return pa.concat_tables(parts) if parts else None


def _agreeing(audit: Audit, own: Rows, made: Rows) -> Rows:
    """The rows that the audit has too; raises DataError where it says another figure, which no confidence changes."""
    values = {_key(row): row["value"] for row in own}
    shared = [row for row in made if _key(row) in values]
    for row in shared:
        there = values[_key(row)]
        if there is None or not abs(there - row["value"]) < 1e-9:
            what = f"{row['metric']} of {row['attack']} {row['norm']} {row['epsilon']:.4g}"
            raise DataError(
                f"{audit.folder.place('metrics.parquet')} says {there} for {what}, the scores beside it give "
                f"{row['value']:.6g}, so one of them was changed; {parquet.AGAIN}"
            )
    return shared


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(round(row[name], 9) if name == "epsilon" else row[name] for name in FILTERS)
