"""How much AUROC a further attack takes off what the suite left; shared by the checks of convergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.attacks.apgd import apgd
from assay.audits.checks._compare import fell_behind, loss_seen, reached
from assay.audits.checks._context import NO_BALL, NO_GRADIENT, Context, called, scores_of
from assay.audits.checks._evidence import gathered
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import detection

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from assay.contracts import Attacked

LEFT = 0.02  # worst-case AUROC that a further attack may take off


def further(check: str, context: Context, *, steps: int, restarts: int) -> CheckResult:
    """The result of a check that runs APGD from fresh starts at the headline, on as many samples as it takes."""
    if not context.facts.differentiable or context.budget is None:
        return not_applicable(check, NO_GRADIENT if context.budget else NO_BALL)
    threat, labels = context.budget, context.images.labels
    everything = np.ones(len(context.shift), dtype=bool)

    def attack(images: Tensor, direction: Tensor, random: list[torch.Generator]) -> Attacked:
        return apgd(context.detector, images, direction, threat, random, steps=steps, restarts=restarts)

    def look(places: NDArray[np.int64]) -> NDArray[np.float64]:
        sign = 1 - 2 * labels[places]
        before, fresh = reached(context, threat, everything, places), sign * scores_of(context, places, attack)
        after = fresh if context.redrawn else np.maximum(before, fresh)
        behind = fell_behind(context, places, before, after)
        return np.stack([sign * before, sign * after, behind], axis=1)

    evidence, places, seen = gathered(
        labels, context.suite.unbounded.samples, look, loss_seen(context, LEFT), context.suite.unbounded.most
    )
    suite, both = (detection.auroc(labels[places], seen[:, column]) for column in (0, 1))
    starts = "a fresh start" if restarts == 1 else f"each of {restarts} fresh starts"
    words = (
        f"APGD with {steps} steps from {starts} takes the worst-case AUROC at {called(threat)} of {len(places)} "
        f"samples from {suite:.3f} to {both:.3f}; {evidence.words}"
    )
    return result(check, evidence.passed, words, evidence.share, LEFT, len(places))
