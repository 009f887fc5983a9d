"""The per-sample worst case over a whole suite: what an attacker reaches who may use any attack up to a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assay.errors import DataError
from assay.tables import SCORES

CLEAN, WORST = "clean", "worst"
"""Attack names of the tables that no entry of a suite may have."""

USED = ("model", "dataset", "sample", "label", "defect", "attack", "norm", "epsilon", "direction")
MEASURED = ("clean_score", "adversarial_score")


def worst_case(scores: pa.Table) -> pa.Table:
    """One row (columns of SCORES) per sample x norm x epsilon: the row of the attack that won.

    Wins: the score furthest in the attacker's direction, of all attacks of that norm at any epsilon up to this one. The
    row's `epsilon` is this one; its `linf` and `l2` say how far the winner really went. Where no attack got beyond the
    clean score, the row is the unmoved image: attack `clean`, distance and cost 0. Raises DataError.
    """
    table = checked(scores)
    norms, epsilons = column(table, "norm"), column(table, "epsilon")
    parts = []
    for norm in np.unique(norms):
        for epsilon in np.unique(epsilons[norms == norm]):
            allowed = np.flatnonzero((norms == norm) & (epsilons <= epsilon))
            parts.append(_unmoved(_with(table.take(strongest(table, allowed)), epsilon=pa.scalar(float(epsilon)))))
    return pa.concat_tables(parts)


def strongest(table: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of some rows of a checked table, for each sample the one with the score furthest in the attacker's direction."""
    table = table.take(rows)
    samples = column(table, "sample")
    gain = column(table, "direction") * column(table, "adversarial_score")
    keys = (column(table, "attack"), -column(table, "epsilon"), gain, samples)  # a tie goes to the smaller epsilon
    order = np.lexsort(keys)
    last = np.append(samples[order][1:] != samples[order][:-1], True)
    winners: NDArray[np.int64] = rows[order[last]]
    return winners


def checked(scores: pa.Table) -> pa.Table:
    """The scores with exactly the columns of SCORES, once they are fit to make figures of; else DataError."""
    missing = [name for name in SCORES.names if name not in scores.schema.names]
    if missing:
        raise DataError(f"the scores lack the columns {', '.join(missing)}; they were not written by an audit")
    table = scores.select(SCORES.names).cast(SCORES).combine_chunks()
    if not len(table):
        raise DataError("there are no scores; run the audit first")
    for name in (*USED, *MEASURED):
        if table[name].null_count or (name in MEASURED and np.isnan(column(table, name)).any()):
            raise DataError(f"column {name} of the scores holds NaN or nothing in places; audit the model again")
    for name in ("model", "dataset"):
        if (count := pc.count_distinct(table[name]).as_py()) > 1:
            raise DataError(f"the scores are of {count} {name}s; figures are of one {name} at a time")
    if set(pc.unique(table["attack"]).to_pylist()) & {CLEAN, WORST}:
        raise DataError(f"an attack is called '{CLEAN}' or '{WORST}', names that stand for something else; rename it")
    labels = column(table, "label")
    if not np.isin(labels, (0, 1)).all() or len(pc.unique(table["sample"])) != len(_pairs(table)):
        raise DataError("every sample needs one label, 0 (normal) or 1 (anomalous), the same in all its rows")
    if not (column(table, "direction") == np.where(labels == 1, -1, 1)).all():
        raise DataError("direction must be +1 (raise) for normals and -1 (lower) for anomalies; audit the model again")
    return table


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """A column as a numpy array; text as an array of text, which sorts faster than one of objects."""
    values: NDArray[Any] = table[name].to_numpy()
    return values.astype(np.str_) if values.dtype == object else values


def _pairs(table: pa.Table) -> pa.Table:
    return table.select(["sample", "label"]).group_by(["sample", "label"]).aggregate([])


def _unmoved(table: pa.Table) -> pa.Table:
    """Rows whose attack did worse than the clean image, replaced by the clean image."""
    clean, direction = table["clean_score"], table["direction"]
    stayed = pc.greater(pc.multiply(clean, direction), pc.multiply(table["adversarial_score"], direction))
    zero = {
        name: pa.scalar(0, SCORES.field(name).type) for name in ("linf", "l2", "l1", "forwards", "backwards", "seconds")
    }
    words = {"attack": pa.scalar(CLEAN), "parameters": pa.scalar("")}
    instead = {"adversarial_score": clean, "rounded_score": clean, **words, **zero}
    return _with(table, **{name: pc.if_else(stayed, value, table[name]) for name, value in instead.items()})


def _with(table: pa.Table, **columns: pa.Scalar | pa.ChunkedArray) -> pa.Table:
    """The table with some of its columns replaced; a single value fills a column."""
    for name, value in columns.items():
        values = pa.repeat(value, len(table)) if isinstance(value, pa.Scalar) else value
        table = table.set_column(table.schema.get_field_index(name), SCORES.field(name), values)
    return table
