"""No attack moved a score beyond what was proven of it."""

from __future__ import annotations

import numpy as np

from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 220


def certified_below_empirical(context: Context) -> CheckResult:
    """No attack moved a score beyond what was proven of it: certified <= truth <= empirical, sample by sample."""
    if context.certified is None or not len(context.certified["sample"]):
        return not_applicable("certified_below_empirical", "nothing was certified")
    proofs, scores, beyond, compared = context.certified, context.scores, [], 0
    for norm, radius in sorted(set(zip(proofs["norm"], proofs["radius"], strict=True))):
        at = (proofs["norm"] == norm) & (proofs["radius"] == radius)
        bounds = {
            sample: (lower, upper)
            for sample, lower, upper in zip(*(proofs[name][at] for name in ("sample", "lower", "upper")), strict=True)
        }
        for place in np.flatnonzero((scores["norm"] == norm) & (scores["epsilon"] <= radius)):
            if (bound := bounds.get(scores["sample"][place])) is not None:
                compared += 1
                low, high = bound[0] - context.same, bound[1] + context.same
                if not low <= scores["adversarial_score"][place] <= high:
                    beyond.append(str(scores["sample"][place]))
    names = sorted(set(beyond))
    evidence = (
        f"{len(beyond)} of {compared} attacked scores lie outside the bounds proven for their sample{listed(names)}"
    )
    return result("certified_below_empirical", not beyond, evidence, len(beyond), 0, len(set(proofs["sample"])))
