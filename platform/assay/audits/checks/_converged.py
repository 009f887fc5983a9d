"""How much AUROC a further attack takes off what the suite left; shared by the checks of convergence."""

from __future__ import annotations

import numpy as np

from assay.attacks.apgd import apgd
from assay.audits.checks._compare import reached
from assay.audits.checks._context import NO_BALL, NO_GRADIENT, Context, attackable, called, chosen
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import detection
from assay.models.scoring import BATCH

LEFT = 0.02  # worst-case AUROC that a further attack may take off


def further(check: str, context: Context, *, steps: int, restarts: int) -> CheckResult:
    """The result of a check that runs APGD from fresh starts at the headline, on some samples."""
    if not context.facts.differentiable or context.budget is None:
        return not_applicable(check, NO_GRADIENT if context.budget else NO_BALL)
    threat, places = context.budget, chosen(context)
    images, direction, random = attackable(context)
    found = apgd(context.detector, images, direction, threat, random, steps=steps, restarts=restarts)
    labels = context.images.labels[places]
    sign = 1 - 2 * labels
    before = reached(context, threat, np.ones(len(context.shift), dtype=bool), BATCH // 2)
    after = np.maximum(before, sign * found.scores.double().cpu().numpy())
    suite, both = (detection.auroc(labels, sign * worst) for worst in (before, after))
    starts = "a fresh start" if restarts == 1 else f"each of {restarts} fresh starts"
    evidence = (
        f"APGD with {steps} steps from {starts} takes the worst-case AUROC at {called(threat)} of {len(places)} "
        f"samples from {suite:.3f} to {both:.3f}; a difference of {LEFT} is allowed"
    )
    return result(check, suite - both <= LEFT, evidence, suite - both, LEFT, len(places))
