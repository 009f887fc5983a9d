"""The figures of a finished audit at any confidence, recomputed from its scores.

metrics.parquet holds intervals at one confidence. Gates that are corrected for multiplicity need wider ones: from the
same scores, with the same resamples, and more of them the further out the bounds are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from assay.approval import worst_seed
from assay.approval.figure import name_of
from assay.approval.gate import Gate
from assay.errors import DataError
from assay.metrics import bootstrap, certified, corruption, deployed, detection, security_curve
from assay.store import figures, parquet, schemas, score_matrix
from assay.store.audit_reader import Audit
from assay.store.figures import Figure
from assay.store.schemas import CERTIFIED, CORRUPTED
from assay.store.score_matrix import DEPLOYED

PRECISION = "average_precision"


def at_any_confidence(
    audit: Audit, table: pa.Table, gates: Sequence[Gate], prevalence: float | None = None
) -> Callable[[float], list[Figure]]:
    """A function: confidence -> the figures that gates need, computed from the scores: no bound of `table` counts.

    table: METRICS of the audit. The order of rows in the audit's files, and how they are split into parts, make no
    difference. The function raises DataError where the scores cannot be read or do not give the figures of `table`.
    """
    own = figures.read(table)

    @functools.cache
    def at(confidence: float) -> list[Figure]:
        shared = _agreeing(audit, own, _computed(audit, gates, confidence))
        if any(gate.of_seeds for gate in gates):
            shared += worst_seed.figures(audit, confidence)
        if prevalence is None:
            return shared
        # The audit's own average precision is at the prevalence of its samples, which decides nothing.
        precise = [gate for gate in gates if gate.metric == PRECISION]
        return [
            *(figure for figure in shared if figure.metric != PRECISION),
            *_precision(audit, precise, prevalence, confidence),
        ]

    return at


def _precision(audit: Audit, gates: Sequence[Gate], prevalence: float, confidence: float) -> list[Figure]:
    """The average precision of some gates at a prevalence."""
    lines = {(gate.figure.attack, gate.figure.norm, gate.figure.regime) for gate in gates}
    if not lines:
        return []
    table = detection.table(
        audit.matrix,
        threshold=audit.info["threshold"]["value"],
        lines=lines,
        replicates=bootstrap.replicates(confidence),
        confidence=confidence,
        prevalence=prevalence,
    )
    return [figure for figure in figures.read(table) if figure.metric == PRECISION]


def _computed(audit: Audit, gates: Sequence[Gate], confidence: float) -> list[Figure]:
    """The figures of every gate, at every epsilon of the audit, which show how far a limit is kept."""
    threshold: float = audit.info["threshold"]["value"]
    resamples = bootstrap.replicates(confidence)
    lines = {(gate.figure.attack, gate.figure.norm, gate.figure.regime) for gate in gates}
    lines.add((score_matrix.CLEAN, "", ""))
    tables = [
        detection.table(audit.matrix, threshold=threshold, lines=lines, replicates=resamples, confidence=confidence)
    ]
    kinds = {gate.attack for gate in gates if gate.norm == "corruption"}
    if kinds and (table := _parts(audit, "corrupted", CORRUPTED)):
        if corruption.MEAN not in kinds:  # the mean needs them all
            table = table.filter(pc.is_in(table["corruption"], pa.array(sorted(kinds), pa.string())))
        if len(table):
            corrupted = corruption.figures(table, threshold=threshold, replicates=resamples, confidence=confidence)
            tables.append(corrupted.filter(pc.is_in(corrupted["attack"], pa.array(sorted(kinds), pa.string()))))
    if any(gate.attack == certified.ATTACK for gate in gates) and (table := _parts(audit, "certified", CERTIFIED)):
        clean = pa.table({"sample": audit.matrix.samples, "clean_score": audit.matrix.clean})
        table = table.sort_by("sample")
        tables.append(certified.figures(table, clean, threshold=threshold, replicates=resamples, confidence=confidence))
    tables.append(security_curve.areas(pa.concat_tables(tables)))
    of_file = {(name.removeprefix(DEPLOYED), norm, of) for name, norm, of in lines if name.startswith(DEPLOYED)}
    if of_file and (table := _parts(audit, "deployed", schemas.DEPLOYED)):
        limits = deployed.thresholds(audit.info)
        tables.append(deployed.figures(table, limits, lines=of_file, replicates=resamples, confidence=confidence))
    return figures.read(pa.concat_tables(tables))


def _parts(audit: Audit, folder: str, schema: pa.Schema) -> pa.Table | None:
    """All parts of a folder of the audit as one table, or None where there are none."""
    keys = audit.parts(folder)
    return parquet.whole(audit.folder, keys, schema) if keys else None


def _agreeing(audit: Audit, own: list[Figure], computed: list[Figure]) -> list[Figure]:
    """The computed figures that the audit has as well; raises DataError where it says another value."""
    named = {name_of(figure): figure for figure in own}
    shared = [figure for figure in computed if name_of(figure) in named]
    for figure in shared:
        said, units = named[name_of(figure)].value, named[name_of(figure)].units
        if units != figure.units:
            raise DataError(
                f"{audit.folder.place('metrics.parquet')} counts {units[0]} independent normals and {units[1]} "
                f"anomalies, the scores beside it {figure.units[0]} and {figure.units[1]}, so one of them was changed; "
                f"{parquet.AGAIN}"
            )
        if not abs(said - figure.value) < 1e-9:
            what = f"{figure.metric} of {figure.attack} {figure.norm} {figure.epsilon:.4g}"
            raise DataError(
                f"{audit.folder.place('metrics.parquet')} says {said} for {what}, the scores beside it give "
                f"{figure.value:.6g}, so one of them was changed; {parquet.AGAIN}"
            )
    return shared
