"""Two passes over the clean images give the same bits, unless the score is known to be random."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.models.scoring import clean_scores

ORDER = 11


def deterministic(context: Context) -> CheckResult:
    """Two passes over the clean images give the same bits, unless the score is known to be random."""
    if context.facts.stochastic:
        return not_applicable("deterministic", "the score is known to be random; see averaged over draws")
    first = clean_scores(context.detector, context.images, context.device)
    second = clean_scores(context.detector, context.images, context.device)
    different = int((first != second).sum())
    evidence = f"two passes over {len(first)} clean images differ in {different} scores"
    return result("deterministic", different == 0, evidence, different, 0, len(first))
