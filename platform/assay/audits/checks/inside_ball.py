"""Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance)."""

from __future__ import annotations

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result

ORDER = 40
TOLERANCE = 1e-6  # of a ball, in pixel scale
MEASURED = ("linf", "l2", "l1", "patch")  # norms that SCORES has a column of


def inside_ball(context: Context) -> CheckResult:
    """Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance).

    Of a rotation and a shift, which are no ball, only [0, 1] is checked.
    """
    scores = context.scores
    box = np.where(np.isfinite(scores["linf"]), -np.inf, np.inf)  # an image that left [0, 1] is infinitely far
    excess = np.select(
        [scores["norm"] == norm for norm in MEASURED], [scores[norm] - scores["epsilon"] for norm in MEASURED], 0.0
    )
    excess = np.maximum(excess, box)
    excess = np.nan_to_num(excess, nan=np.inf)
    furthest, outside = float(excess.max()), int((excess > TOLERANCE).sum())
    evidence = f"{outside} of {len(excess)} attacked images lie outside their ball or [0, 1]; furthest {furthest:.1e}"
    return result("inside_ball", outside == 0, evidence, furthest, TOLERANCE, len(excess))
