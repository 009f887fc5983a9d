"""Whether two audits hold the same figures: every Parquet file, but for how long things took."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TIMES = {"seconds", "seconds_per_sample", "seconds_25", "seconds_50", "seconds_75"}
"""Columns that may differ: how long it took."""


def differences(one: Path, other: Path) -> list[str]:
    """The Parquet files, below both folders, that are missing in one or differ in a column that is no time."""
    names = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*.parquet")}
    return [str(name) for name in sorted(names) if not same(one / name, other / name)]


def same(one: Path, other: Path) -> bool:
    """Equal in all columns but times; byte for byte where there is no such column."""
    if not (one.exists() and other.exists()):
        return False
    tables = [pq.read_table(path) for path in (one, other)]
    if not TIMES & set(tables[0].column_names):
        return one.read_bytes() == other.read_bytes()
    kept = [name for name in tables[0].column_names if name not in TIMES]
    return tables[0].column_names == tables[1].column_names and bits(tables[0], kept) == bits(tables[1], kept)


def bits(table: pa.Table, columns: list[str]) -> bytes:
    """The columns bit for bit, so that NaN equals NaN."""
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, table.select(columns).schema) as stream:
        stream.write_table(table.select(columns).combine_chunks())
    return content.getvalue().to_pybytes()
