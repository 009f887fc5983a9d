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
from assay.audits.checks._kept import KeptChecks
from assay.audits.checks._result import CheckResult, result
from assay.errors import AssayError
from assay.store import schemas

UNMADE = "the check could not be made"
"""How the evidence of a check begins that ended in an error."""


def names() -> list[str]:
    """Every check, in the order of the report: by the ORDER its file states."""
    return sorted(
        shelves.names("checks"), key=lambda name: (shelves.stated(shelves.load("checks", name), "ORDER", 0), name)
    )


def table(
    context: Context,
    on_check: Callable[[str, float], object] = lambda name, seconds: None,
    kept: KeptChecks | None = None,
) -> pa.Table:
    """The results of all checks as schemas.CHECKS; a check that a broken detector stops halfway has failed.

    on_check: called after each with its name and the seconds it took, 0 for one that was kept. kept: the results of an
    earlier run, to which these are added; but not those of checks that could not be made.
    """
    rows = []
    for name in names():
        began = time.monotonic()
        found = kept.read(name) if kept else None
        seconds = 0.0
        if found is None:
            found = made(name, context, kept)
            seconds = time.monotonic() - began
        rows.append(dataclasses.asdict(found))
        on_check(name, seconds)
    return pa.Table.from_pylist(rows, schema=schemas.CHECKS)


def made(name: str, context: Context, kept: KeptChecks | None = None) -> CheckResult:
    """The result of one check, which is then kept; but not that of a check that could not be made."""
    found = outcome(name, context)
    if kept and not found.evidence.startswith(UNMADE):
        kept.write(found)
    return found


def outcome(name: str, context: Context) -> CheckResult:
    """The result of one check."""
    try:
        verdict: CheckResult = shelves.load("checks", name)(context)
    except AssayError as error:
        return result(name, False, f"{UNMADE}: {error}", math.nan, math.nan, 0)
    return verdict
