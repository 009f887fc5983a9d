"""Further random starts find little that the suite did not (Carlini et al., sec. on random restarts)."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._converged import further
from assay.audits.checks._result import CheckResult

ORDER = 111
ABOUT = "strength"
RESTARTS = 5


def converged_in_restarts(context: Context) -> CheckResult:
    """Further random starts find little that the suite did not (Carlini et al., sec. on random restarts)."""
    steps = max(1, context.suite.unbounded.steps // RESTARTS)
    return further("converged_in_restarts", context, steps=steps, restarts=RESTARTS)
