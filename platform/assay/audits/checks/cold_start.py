"""The suite's strongest attack, started afresh at the headline, finds no more than it did from smaller epsilons."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from assay.audits.checks._compare import fell_behind, loss_seen, reached
from assay.audits.checks._context import FEW, NO_BALL, Context, called, scores_of
from assay.audits.checks._evidence import gathered
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.metrics import detection

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from assay.contracts import Attacked

ORDER = 81
ABOUT = "strength"
APART = 0.02  # AUROC


def cold_start(context: Context) -> CheckResult:
    """The suite's strongest attack, started afresh at the headline, finds no more than it did from smaller epsilons.

    Each epsilon starts from the images of the one before, so figures cannot rise; this check sees whether that start
    holds the attack back.
    """
    threat, scores = context.budget, context.scores
    if threat is None:
        return not_applicable("cold_start", NO_BALL)
    at = (scores["norm"] == threat.norm) & (scores["epsilon"] == threat.epsilon)
    shifts = {
        entry.name: (context.shift[at & (scores["attack"] == entry.name)].mean(), entry)
        for entry in context.suite.white_box()
        if (at & (scores["attack"] == entry.name)).any() and threat.epsilon > entry.epsilons[0]
    }
    if not shifts:
        return not_applicable("cold_start", "no white-box attack has a smaller epsilon before the headline")
    _, entry = max(shifts.values(), key=lambda pair: pair[0])
    labels, own = context.images.labels, scores["attack"] == entry.name

    def attack(images: Tensor, direction: Tensor, random: list[torch.Generator]) -> Attacked:
        made = entry.attack.function(context.detector, images, direction, threat, random, **entry.attack.arguments())
        return cast("Attacked", made)

    def look(places: NDArray[np.int64]) -> NDArray[np.float64]:
        sign = 1 - 2 * labels[places]
        warm, cold = reached(context, threat, own, places), sign * scores_of(context, places, attack)
        return np.stack([sign * warm, sign * cold, fell_behind(context, places, warm, cold)], axis=1)

    evidence, places, seen = gathered(
        labels, min(FEW, context.suite.unbounded.samples), look, loss_seen(context, APART), context.suite.unbounded.most
    )
    warm, cold = (detection.auroc(labels[places], seen[:, column]) for column in (0, 1))
    words = (
        f"{entry.name} at {called(threat)} leaves AUROC {cold:.3f} on {len(places)} samples from a fresh start, "
        f"{warm:.3f} from the smaller epsilons; how much better a fresh start is: {evidence.words}"
    )
    return result("cold_start", evidence.passed, words, evidence.share, APART, len(places))
