"""A detector without a gradient was attacked by methods that need none."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 170
ABOUT = "strength"


def black_box_without_gradient(context: Context) -> CheckResult:
    """A detector without a gradient was attacked at the headline by methods that need none (Carlini et al., BPDA)."""
    if context.facts.differentiable:
        return not_applicable("black_box_without_gradient", "the score has a gradient")
    headline, scores = context.suite.headline, context.scores
    at = (scores["norm"] == headline.norm) & (scores["epsilon"] == headline.epsilon)
    names = sorted(set(scores["attack"][at & context.known_as("score", "label")]))
    evidence = f"the score has no gradient; black-box attacks at the headline: {', '.join(names) or 'none'}"
    return result("black_box_without_gradient", bool(names), evidence, len(names), 1, len(context.images))
