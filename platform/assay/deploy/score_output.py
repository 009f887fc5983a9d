"""Scores as the rows of a table, and as JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

import pyarrow as pa

from assay.deploy.score_files import Scored, Unread
from assay.errors import InputError
from assay.store.store import write_whole

COLUMNS = pa.schema(
    [
        ("file", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("decision", pa.string()),
        ("p_value", pa.float64()),
        ("error", pa.string()),
    ]
)
"""decision: `anomalous` or `normal`. error: why an image has no score, else null."""
Form = Literal["table", "jsonl", "csv", "parquet"]


def row(one: Scored | Unread) -> dict[str, Any]:
    """A result as a row with the columns of COLUMNS."""
    if isinstance(one, Unread):
        return {"file": one.name, **dict.fromkeys(COLUMNS.names[1:-1]), "error": one.reason}
    decision = "anomalous" if one.anomalous else "normal"
    values = {"score": one.score, "threshold": one.threshold, "decision": decision, "p_value": one.p_value}
    return {"file": one.name, **values, "error": None}


def table(results: Iterable[Scored | Unread]) -> pa.Table:
    """Results as a table."""
    return pa.Table.from_pylist([row(one) for one in results], schema=COLUMNS)


def form_of(stated: str | None, output: Path | None) -> Form:
    """The form that is meant: as stated, or by the ending of the file.

    Raises InputError for Parquet without a file, an ending that says nothing, and a file that cannot be written.
    """
    known = get_args(Form)
    ending = output.suffix.lstrip(".") if output else ""
    form = stated or {"": "table", "txt": "table"}.get(ending, ending)
    if form not in known:
        raise InputError(
            f"{output}: no format is known by .{ending}; end it in .csv, .jsonl, .parquet or .txt, or give --format"
        )
    if output and not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}; make it first")
    if output and output.is_dir():
        raise InputError(f"{output} is a folder; name a file in it")
    if form == "parquet" and output is None:
        raise InputError("Parquet is not for a terminal; name a file: --output scores.parquet")
    return next(one for one in known if one == form)


def write(results: Iterable[Scored | Unread], form: Form, stream: TextIO) -> None:
    """Write JSON lines or CSV, each row as soon as it is there."""
    if form == "jsonl":
        for one in results:
            stream.write(json.dumps(row(one)) + "\n")
            stream.flush()
        return
    writer = csv.DictWriter(stream, COLUMNS.names, lineterminator="\n")
    writer.writeheader()
    for one in results:
        writer.writerow(row(one))
        stream.flush()


def write_parquet(results: Iterable[Scored | Unread], file: Path) -> None:
    """Write Parquet, whole or not at all."""
    import pyarrow.parquet as pq

    content = pa.BufferOutputStream()
    pq.write_table(table(results), content)
    write_whole(file, content.getvalue().to_pybytes())
