"""Random changes of a few grey levels hardly move the score, so that a gradient holds nearby too."""

from __future__ import annotations

from assay.audits.checks._context import Context, attackable
from assay.audits.checks._result import CheckResult, result
from assay.contracts import ThreatModel
from assay.models.scoring import score
from assay.norm_balls import random_point

ORDER = 120
BALL = ThreatModel("linf", 8 / 255)
DRAWS = 20
MOVED = 0.5  # of the standard deviation of the clean scores


def stable_in_small_ball(context: Context) -> CheckResult:
    """Random changes of a few grey levels hardly move the score (Pintor et al. 2022, "unstable predictions")."""
    images, _, random = attackable(context)
    clean = score(context.detector, images)
    moves = [(score(context.detector, random_point(images, BALL, random)) - clean).abs().mean() for _ in range(DRAWS)]
    moved = float(sum(moves)) / DRAWS / max(context.spread, 1e-12)
    evidence = (
        f"{DRAWS} random changes of at most 8/255 move the scores of {len(images)} samples by {moved:.3f} standard "
        f"deviations of the clean scores on average; beyond {MOVED} a gradient says little about its surroundings"
    )
    return result("stable_in_small_ball", moved <= MOVED, evidence, moved, MOVED, len(images), required=False)
