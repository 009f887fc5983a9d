"""Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance)."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.checks._context import Context, row

ORDER = 50
TOLERANCE = 1e-6  # of a ball, in pixel scale


def inside_ball(context: Context) -> dict[str, Any]:
    """Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance)."""
    scores = context.scores
    distance = np.where(scores["norm"] == "linf", scores["linf"], scores["l2"])
    excess = np.nan_to_num(distance - scores["epsilon"], nan=np.inf)
    furthest, outside = float(excess.max()), int((excess > TOLERANCE).sum())
    evidence = f"{outside} of {len(excess)} attacked images lie outside their ball or [0, 1]; furthest {furthest:.1e}"
    return row("inside_ball", outside == 0, evidence, furthest, TOLERANCE, len(excess))
