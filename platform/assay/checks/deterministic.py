"""Two passes over the clean images give the same bits: eval mode, no hidden randomness."""

from __future__ import annotations

from typing import Any

from assay.checks._context import Context, row
from assay.evaluation import clean_scores

ORDER = 10


def deterministic(context: Context) -> dict[str, Any]:
    """Two passes over the clean images give the same bits: eval mode, no hidden randomness."""
    first = clean_scores(context.detector, context.images, context.device)
    second = clean_scores(context.detector, context.images, context.device)
    different = int((first != second).sum())
    evidence = f"two passes over {len(first)} clean images differ in {different} scores"
    return row("deterministic", different == 0, evidence, different, 0, len(first))
