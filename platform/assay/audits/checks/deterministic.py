"""Two passes over the clean images give the same bits, unless the score is known to be random."""

from __future__ import annotations

from typing import Any

from assay.audits.checks._context import Context, not_applicable, row
from assay.models.scoring import clean_scores

ORDER = 11


def deterministic(context: Context) -> dict[str, Any]:
    """Two passes over the clean images give the same bits, unless the score is known to be random."""
    if context.facts.stochastic:
        return not_applicable("deterministic", "the score is known to be random; see averaged over draws")
    first = clean_scores(context.detector, context.images, context.device)
    second = clean_scores(context.detector, context.images, context.device)
    different = int((first != second).sum())
    evidence = f"two passes over {len(first)} clean images differ in {different} scores"
    return row("deterministic", different == 0, evidence, different, 0, len(first))
