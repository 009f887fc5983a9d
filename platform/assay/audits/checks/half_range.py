"""Within half of the grey scale, where every image can become plain grey, ranking is no better than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.attacks.pgd import pgd
from assay.audits.checks._context import FEW, NO_GRADIENT, Context, at, chosen, scores_of
from assay.audits.checks._evidence import BEHIND, Evidence, backed, gathered, share
from assay.audits.checks._proven import bracketed
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import ThreatModel
from assay.metrics import detection
from assay.models.scoring import score

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from assay.contracts import Attacked

ORDER = 71
ABOUT = "strength"
CHANCE = 0.5


def half_range(context: Context) -> CheckResult:
    """Within half of the grey scale ranking is no better than chance (Carlini et al., sec. on sanity checks)."""
    import torch

    if not context.facts.differentiable:
        return not_applicable("half_range", NO_GRADIENT)
    labels, steps = context.images.labels, context.suite.unbounded.steps
    threat = ThreatModel("linf", 0.5, context.threshold)
    plain = torch.full_like(at(context, chosen(context, 1))[0][:1], 0.5)
    grey = float(score(context.detector, plain)[0])  # every image can become this one

    def attack(images: Tensor, direction: Tensor, random: list[torch.Generator]) -> Attacked:
        return pgd(context.detector, images, direction, threat, random, steps=steps)

    def judge(places: NDArray[np.int64], seen: NDArray[np.float64], looks: int) -> Evidence:
        label = labels[places]
        smaller = context.worth_of_pairs(places)
        kept = share(detection.auroc(label, seen) * smaller, smaller, CHANCE, looks)
        behind = (1 - 2 * label) * (grey - seen) > context.same
        return backed(kept, share(behind.sum(), len(places), BEHIND, looks, context.worth(places)))

    first = min(FEW, context.suite.unbounded.samples)
    shown, places, scores = gathered(
        labels, first, lambda more: scores_of(context, more, attack), judge, context.suite.unbounded.most
    )
    auroc = detection.auroc(labels[places], scores)
    evidence = (
        f"PGD-{steps} at linf 0.5, where every image can become plain grey, leaves AUROC {auroc:.3f} on "
        f"{len(places)} samples; as a share of pairs, {shown.words}"
    )
    proof = None if shown.passed else bracketed(context)
    if proof:
        evidence += f"; {proof}"
    return result("half_range", shown.passed, evidence, auroc, CHANCE, len(places), required=proof is None)
