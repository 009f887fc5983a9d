"""The more severe a corruption, the further it moves the scores."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import corruption

ORDER = 210


def corruptions_monotone(context: Context) -> CheckResult:
    """The more severe a corruption, the further it moves the scores; a fall that chance explains is allowed."""
    if context.corrupted is None:
        return not_applicable("corruptions_monotone", "the suite has no corruptions")
    verdict = corruption.monotone(context.corrupted)
    samples = len(context.images)
    return result("corruptions_monotone", verdict.passed, verdict.evidence, verdict.fall, 1, samples, required=False)
