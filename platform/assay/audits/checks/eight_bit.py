"""Adversarial images saved with 8 bits stay in their ball and keep most of their shift."""

from __future__ import annotations

from assay.attacks.noise import noise
from assay.audits.checks._context import NO_BALL, Context, attackable, called
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.norm_balls import LEVELS, size, to_8_bit

ORDER = 180
TOLERANCE = 1e-6


def eight_bit(context: Context) -> CheckResult:
    """Adversarial images saved with 8 bits stay in their ball; the evidence says how much of the shift they keep.

    Changes smaller than a grey level cannot be saved, so a shift may shrink; leaving the ball is an error.
    """
    threat, scores = context.budget, context.scores
    if threat is None:
        return not_applicable("eight_bit", NO_BALL)
    images, direction, random = attackable(context)
    moved = noise(context.detector, images, direction, threat, random, draws=1).images
    saved = to_8_bit(moved, images, threat)
    excess = float((size(saved - images, threat.norm) - threat.epsilon).max())
    off_grid = float((saved * LEVELS - (saved * LEVELS).round()).abs().max()) / LEVELS
    furthest = max(excess, off_grid)
    at = (
        (scores["norm"] == threat.norm) & (scores["epsilon"] == threat.epsilon) & context.known_as("white-box", "score")
    )
    kept = scores["direction"] * (scores["rounded_score"] - scores["clean_score"])
    gained = float(context.shift[at].mean()) if at.any() else 0.0
    share = f"{kept[at].mean() / gained:.0%}" if gained > 0 else "none"
    evidence = (
        f"{len(images)} attacked images saved with 8 bits leave {called(threat)} by at most {max(0.0, furthest):.1e}; "
        f"of the mean shift of the audit's attacks there, {share} is kept"
    )
    return result("eight_bit", furthest <= TOLERANCE, evidence, furthest, TOLERANCE, len(images))
