"""The worst-case AUROC never rises with epsilon (Carlini et al., sec. on distortion)."""

from __future__ import annotations

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result

ORDER = 80
REGIMES = ("evasion", "false_alarm", "both")


def monotone_in_epsilon(context: Context) -> CheckResult:
    """The worst-case AUROC never rises with epsilon (Carlini et al., sec. on distortion)."""
    figures = context.metrics
    worst = (figures["metric"] == "auroc") & (figures["defect"] == "all") & (figures["attack"] == "worst")
    rises, beyond = [0.0], [0.0]
    for norm in sorted(set(figures["norm"][worst])):
        for regime in REGIMES:
            chosen = worst & (figures["norm"] == norm) & (figures["regime"] == regime)
            order = np.argsort(figures["epsilon"][chosen])
            value, upper = (figures[name][chosen][order] for name in ("value", "upper"))
            rises += list(np.diff(value))
            # Another image may win at a larger epsilon, and a random score of it is another draw.
            beyond += list(value[1:] - upper[:-1]) if context.redrawn else list(np.diff(value))
    highest = max(rises)
    evidence = f"worst-case AUROC over {len(rises) - 1} steps in epsilon rises by at most {max(0.0, highest):.1e}"
    if context.redrawn:
        evidence += "; the score is random, and each was compared with the upper bound of the one before"
    return result("monotone_in_epsilon", max(beyond) <= 1e-12, evidence, highest, 1e-12, len(context.images))
