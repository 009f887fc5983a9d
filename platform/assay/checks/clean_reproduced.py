"""Every attack began from the score that the detector gives now: the scores are of this detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.checks._context import SAME, Context, row, spread
from assay.evaluation import clean_scores

ORDER = 30


def clean_reproduced(context: Context) -> dict[str, Any]:
    """Every attack began from the score that the detector gives now: the scores are of this detector."""
    now = clean_scores(context.detector, context.images, context.device)
    by_id = dict(zip(context.images.ids, now, strict=True))
    expected = np.array([by_id.get(sample, np.nan) for sample in context.scores["sample"]])
    off = np.nan_to_num(np.abs(context.scores["clean_score"] - expected), nan=np.inf)
    furthest, limit = float(off.max()), SAME * spread(context)
    evidence = f"{len(off)} clean scores of the audit are at most {furthest:.1e} from today's; allowed {limit:.1e}"
    return row("clean_reproduced", furthest <= limit, evidence, furthest, limit, len(now))
