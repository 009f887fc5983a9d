"""All checks of the audit itself: a required one that fails makes the audit INVALID, whatever its figures say.

Each is a function on the shelf `checks` that returns a row of `checks.parquet` with its evidence. Source of the list:
Carlini et al. 2019 ("On Evaluating Adversarial Robustness", the sections named in the checks) and Pintor et al. 2022
(indicators of failure).
"""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from assay import shelves
from assay.audits.checks._context import Context, row
from assay.errors import AssayError
from assay.store import schemas


def names() -> list[str]:
    """Every check, in the order of the report: by the ORDER its file states."""
    return sorted(
        shelves.names("checks"), key=lambda name: (shelves.stated(shelves.load("checks", name), "ORDER", 0), name)
    )


def table(context: Context) -> pa.Table:
    """The rows of all checks (tables.CHECKS); one that an unfit detector stops on the way has failed."""
    return pa.Table.from_pylist([outcome(name, context) for name in names()], schema=schemas.CHECKS)


def outcome(name: str, context: Context) -> dict[str, Any]:
    """The row of one check."""
    try:
        found: dict[str, Any] = shelves.load("checks", name)(context)
    except AssayError as error:
        return row(name, False, f"the check could not be made: {error}", math.nan, math.nan, 0)
    return found
