"""A long attack from a fresh start finds little that the suite did not (Carlini et al., sec. on convergence)."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._converged import further
from assay.audits.checks._result import CheckResult

ORDER = 110
ABOUT = "strength"


def converged_in_steps(context: Context) -> CheckResult:
    """A long attack from a fresh start finds little that the suite did not (Carlini et al., sec. on convergence)."""
    return further("converged_in_steps", context, steps=context.suite.unbounded.steps, restarts=1)
