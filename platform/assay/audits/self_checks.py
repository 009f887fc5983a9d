"""All checks of the audit itself: a required one that fails makes the audit INVALID, whatever its figures say.

Each is a function on the shelf `checks` that returns a CheckResult, a row of `checks.parquet`. Source of the list:
Carlini et al. 2019 ("On Evaluating Adversarial Robustness", the sections named in the checks) and Pintor et al. 2022
(indicators of failure).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import pyarrow as pa

from assay import shelves
from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.errors import AssayError
from assay.store import schemas


def names() -> list[str]:
    """Every check, in the order of the report: by the ORDER its file states."""
    return sorted(
        shelves.names("checks"), key=lambda name: (shelves.stated(shelves.load("checks", name), "ORDER", 0), name)
    )


def table(context: Context, on_check: Callable[[str, float], object] = lambda name, seconds: None) -> pa.Table:
    """The results of all checks as schemas.CHECKS; a check that a broken detector stops halfway has failed.

    on_check: called after each with its name and the seconds it took.
    """
    rows = []
    for name in names():
        began = time.monotonic()
        rows.append(dataclasses.asdict(outcome(name, context)))
        on_check(name, time.monotonic() - began)
    return pa.Table.from_pylist(rows, schema=schemas.CHECKS)


def outcome(name: str, context: Context) -> CheckResult:
    """The result of one check."""
    try:
        verdict: CheckResult = shelves.load("checks", name)(context)
    except AssayError as error:
        return result(name, False, f"the check could not be made: {error}", math.nan, math.nan, 0)
    return verdict
