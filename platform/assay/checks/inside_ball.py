"""Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance)."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.checks._context import Context, row

ORDER = 40
TOLERANCE = 1e-6  # of a ball, in pixel scale


def inside_ball(context: Context) -> dict[str, Any]:
    """Every scored image lies in its ball and in [0, 1] (an image that left [0, 1] has an infinite distance).

    What a patch or a rotation changes is no ball; of those only [0, 1] is checked.
    """
    scores = context.scores
    box = np.where(np.isfinite(scores["linf"]), 0.0, np.inf)
    excess = np.select(
        [scores["norm"] == norm for norm in ("linf", "l2", "l1")],
        [scores[norm] - scores["epsilon"] for norm in ("linf", "l2", "l1")],
        box,
    )
    excess = np.nan_to_num(excess, nan=np.inf)
    furthest, outside = float(excess.max()), int((excess > TOLERANCE).sum())
    evidence = f"{outside} of {len(excess)} attacked images lie outside their ball or [0, 1]; furthest {furthest:.1e}"
    return row("inside_ball", outside == 0, evidence, furthest, TOLERANCE, len(excess))
