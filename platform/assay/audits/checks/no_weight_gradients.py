"""No weight holds a gradient after all attacks: they left the audited detector as it was."""

from __future__ import annotations

from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, result

ORDER = 990  # after the attacks of the other checks


def no_weight_gradients(context: Context) -> CheckResult:
    """No weight holds a gradient after all attacks: they left the audited detector as it was."""
    weights = dict(context.detector.named_parameters())
    filled = [name for name, weight in weights.items() if weight.grad is not None]
    evidence = f"{len(filled)} of {len(weights)} weights hold a gradient after the attacks{listed(filled)}"
    return result("no_weight_gradients", not filled, evidence, len(filled), 0, len(context.images))
