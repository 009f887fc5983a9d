"""Anomalies score higher than normals: without an attack the ranking is no worse than a coin's."""

from __future__ import annotations

from typing import Any

from assay.audits.checks._context import Context, row
from assay.metrics import detection

ORDER = 50
COIN = 0.5


def score_order(context: Context) -> dict[str, Any]:
    """Anomalies score higher than normals: without an attack the ranking is no worse than a coin's."""
    auroc = detection.auroc(context.images.labels, context.clean)
    evidence = (
        f"clean AUROC is {auroc:.3f} on {len(context.images)} images; below {COIN} the score points the wrong way, "
        "and an attack that raises it would help the owner"
    )
    return row("score_order", auroc >= COIN, evidence, auroc, COIN, len(context.images))
