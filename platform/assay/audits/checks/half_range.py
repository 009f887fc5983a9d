"""Within half of the grey scale, where every image can become plain grey, ranking is no better than chance."""

from __future__ import annotations

from assay.attacks.pgd import pgd
from assay.audits.checks._context import FEW, NO_GRADIENT, Context, attackable
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import ThreatModel
from assay.metrics import detection

ORDER = 71
CHANCE = 0.5


def half_range(context: Context) -> CheckResult:
    """Within half of the grey scale ranking is no better than chance (Carlini et al., sec. on sanity checks)."""
    if not context.facts.differentiable:
        return not_applicable("half_range", NO_GRADIENT)
    images, direction, random = attackable(context, FEW)
    steps = context.suite.unbounded.steps
    threat = ThreatModel("linf", 0.5, context.threshold)
    found = pgd(context.detector, images, direction, threat, random, steps=steps)
    auroc = detection.auroc((direction < 0).long().cpu().numpy(), found.scores.double().cpu().numpy())
    evidence = (
        f"PGD-{steps} at linf 0.5, where every image can become plain grey, leaves AUROC {auroc:.3f} on "
        f"{len(images)} samples"
    )
    return result("half_range", auroc <= CHANCE, evidence, auroc, CHANCE, len(images))
