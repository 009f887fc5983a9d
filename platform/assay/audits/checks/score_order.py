"""Anomalies score higher than normals: without an attack the ranking is no worse than a coin's."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result
from assay.metrics import detection

ORDER = 50
COIN = 0.5


def score_order(context: Context) -> CheckResult:
    """Anomalies score higher than normals: without an attack the ranking is no worse than a coin's."""
    auroc = detection.auroc(context.images.labels, context.clean)
    evidence = (
        f"clean AUROC is {auroc:.3f} on {len(context.images)} images; below {COIN} the score points the wrong way, "
        "and an attack that raises it would help the owner"
    )
    return result("score_order", auroc >= COIN, evidence, auroc, COIN, len(context.images))
