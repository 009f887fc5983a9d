"""The deployed threshold lies between the lowest and the highest clean score."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 53


def threshold_in_range(context: Context) -> CheckResult:
    """The deployed threshold lies between the lowest and the highest clean score."""
    if context.threshold is None:
        return not_applicable("threshold_in_range", "no threshold is deployed with the model")
    lowest, highest, at = float(context.clean.min()), float(context.clean.max()), context.threshold
    evidence = (
        f"the threshold is {at:.4g}, clean scores reach from {lowest:.4g} to {highest:.4g}; outside of these every "
        "image is flagged or none, and the threshold is probably another detector's"
    )
    inside = lowest <= at < highest
    return result("threshold_in_range", inside, evidence, at, highest, len(context.images), required=False)
