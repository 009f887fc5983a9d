"""No attack leaves a sample better off than no attack, and no robust AUROC exceeds the clean one."""

from __future__ import annotations

import numpy as np

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.store.score_matrix import DEPLOYED

ORDER = 52
ADVERSARIAL = ("evasion", "false_alarm", "both")


def robust_below_clean(context: Context) -> CheckResult:
    """No attack leaves a sample better off than no attack, and no robust AUROC exceeds the clean one."""
    figures, shift = context.metrics, context.shift
    random = context.facts.stochastic  # a second pass over the same image may then score it better
    wrong = int((shift < -(context.same if random else 0.0)).sum())
    auroc = (figures["metric"] == "auroc") & (figures["defect"] == "all")
    # Of a random score both are of one draw each, and an attack that does nothing leaves a figure as high as the clean.
    clean = float(figures["upper" if context.redrawn else "value"][auroc & (figures["attack"] == "clean")][0])
    attacked = auroc & np.isin(figures["regime"], ADVERSARIAL)
    # Images found on the audited detector owe the deployed file nothing: on it they may score better than clean ones.
    attacked &= np.array([not attack.startswith(DEPLOYED) for attack in figures["attack"]])
    if random:
        attacked &= figures["attack"] == "worst"
    highest = float(figures["value"][attacked].max())
    evidence = (
        f"{wrong} of {len(shift)} scores moved in the owner's direction; highest robust AUROC {highest:.4f}, "
        f"{'upper bound of clean' if context.redrawn else 'clean'} {clean:.4f}"
    )
    return result("robust_below_clean", wrong == 0 and highest <= clean, evidence, highest, clean, len(shift))
