"""Every attack began from the score that the detector gives now: the scores are of this detector."""

from __future__ import annotations

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result

ORDER = 20


def clean_reproduced(context: Context) -> CheckResult:
    """Every attack began from the score that the detector gives now: the scores are of this detector."""
    by_id = dict(zip(context.images.ids, context.clean, strict=True))
    expected = np.array([by_id.get(sample, np.nan) for sample in context.scores["sample"]])
    off = np.nan_to_num(np.abs(context.scores["clean_score"] - expected), nan=np.inf)
    furthest, limit = float(off.max()), context.same
    evidence = f"{len(off)} clean scores of the audit are at most {furthest:.1e} from today's; allowed {limit:.1e}"
    return result("clean_reproduced", furthest <= limit, evidence, furthest, limit, len(context.images))
