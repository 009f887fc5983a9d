"""An attack without bounds ranks anomalies below normals and gets every decision wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.attacks.pgd import pgd
from assay.audits.checks._context import NO_GRADIENT, Context, scores_of
from assay.audits.checks._evidence import Evidence, gathered, share
from assay.audits.checks._proven import bracketed
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import ThreatModel
from assay.metrics import detection

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from assay.contracts import Attacked

ORDER = 70
ABOUT = "strength"
BROKEN = 0.02  # AUROC that an attack without bounds must reach
RIGHT = 0.1  # share of each class that may still be decided rightly; a masked gradient leaves a quarter and more
PATH = 0.5  # length of all steps: from the clean image to anything grey. Longer steps jump over what they look for.


def unbounded(context: Context) -> CheckResult:
    """An attack without bounds ranks anomalies below normals (Carlini et al., "Perform an unbounded attack").

    linf, epsilon 1. At the deployed threshold both error rates go to 100 %: it is not enough that half are wrong.
    """
    if not context.facts.differentiable:
        return not_applicable("unbounded", NO_GRADIENT)
    labels, steps, threshold = context.images.labels, context.suite.unbounded.steps, context.threshold
    threat = ThreatModel("linf", 1.0, threshold)

    def attack(images: Tensor, direction: Tensor, random: list[torch.Generator]) -> Attacked:
        return pgd(context.detector, images, direction, threat, random, steps=steps, step_size=PATH, random_start=False)

    def judge(places: NDArray[np.int64], seen: NDArray[np.float64], looks: int) -> Evidence:
        """The AUROC and, where there is a threshold, the rights of each class: the one that decides."""
        label = labels[places]
        smaller, classes = context.worth_of_pairs(places), [places[label == which] for which in (0, 1)]
        shares = [share(detection.auroc(label, seen) * smaller, smaller, BROKEN, 3 * looks)]
        if threshold is not None:
            right = (seen > threshold) == (label == 1)
            shares += [
                share(right[label == which].sum(), len(of), RIGHT, 3 * looks, context.worth(of))
                for which, of in enumerate(classes)
            ]
        return min(shares, key=lambda one: ("failed", "undecided", "passed").index(one.decision))

    shown, places, scores = gathered(
        labels,
        context.suite.unbounded.samples,
        lambda at: scores_of(context, at, attack),
        judge,
        context.suite.unbounded.most,
    )
    auroc = detection.auroc(labels[places], scores)
    evidence = f"PGD-{steps} at epsilon 255/255 leaves AUROC {auroc:.3f} on {len(places)} samples"
    if threshold is not None:
        missed = detection.miss_rate(labels[places], scores, threshold)
        alarms = detection.false_alarm_rate(labels[places], scores, threshold)
        evidence += f"; at the threshold it hides {missed:.0%} of the anomalies and flags {alarms:.0%} of the normals"
    evidence += f"; of what it leaves, {shown.words}"
    proof = None if shown.passed else bracketed(context)
    if proof:
        evidence += f"; {proof}"
    return result("unbounded", shown.passed, evidence, auroc, BROKEN, len(places), required=proof is None)
