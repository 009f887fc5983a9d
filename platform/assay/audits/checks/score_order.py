"""Anomalies score higher than normals: without an attack the ranking is not shown to be worse than a coin's."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.metrics import detection
from assay.store.score_matrix import ALL, CLEAN

ORDER = 50
COIN = 0.5


def score_order(context: Context) -> CheckResult:
    """Anomalies score higher than normals: the ranking without an attack is not shown to be worse than a coin's.

    Fails where the whole interval of the clean AUROC lies below a coin's. A weak detector on few images is not one that
    points the wrong way.
    """
    figures = context.metrics
    clean = (figures["attack"] == CLEAN) & (figures["metric"] == "auroc") & (figures["defect"] == ALL)
    auroc = detection.auroc(context.images.labels, context.clean)
    lower, upper = (float(figures[name][clean][0]) for name in ("lower", "upper"))
    evidence = f"clean AUROC is {auroc:.3f} [{lower:.3f}, {upper:.3f}] on {len(context.images)} images; "
    if upper < COIN:
        evidence += f"below {COIN} the score points the wrong way, and an attack that raises it would help the owner"
    else:
        evidence += f"its interval must not lie below {COIN}"
    return result("score_order", upper >= COIN, evidence, auroc, COIN, len(context.images))
