"""The more severe a corruption, the further it moves the scores."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import corruption

ORDER = 210


def corruptions_monotone(context: Context) -> CheckResult:
    """The more severe a corruption, the further it moves the scores, beyond what chance makes of no change."""
    if context.corrupted is None:
        return not_applicable("corruptions_monotone", "the suite has no corruptions")
    passed, evidence, value = corruption.monotone(context.corrupted)
    return result("corruptions_monotone", passed, evidence, value, 1, len(context.images), required=False)
