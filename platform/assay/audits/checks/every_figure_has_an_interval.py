"""Every figure of the audit lies inside an interval of some width."""

from __future__ import annotations

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result

ORDER = 240


def every_figure_has_an_interval(context: Context) -> CheckResult:
    """Every figure of the audit lies inside an interval of some width, so that a gate can act on its bad end."""
    figures = context.metrics
    value, lower, upper = (figures[name] for name in ("value", "lower", "upper"))
    finite = np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper)
    good = finite & (lower <= value) & (value <= upper) & (lower < upper)
    wrong = int((~good).sum())
    evidence = f"{len(good) - wrong} of {len(good)} figures have an interval that holds them"
    return result("every_figure_has_an_interval", wrong == 0, evidence, wrong, 0, len(context.images), required=False)
