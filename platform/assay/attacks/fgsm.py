"""FGSM: a single step of length epsilon along the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import furthest

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "white-box"


def fgsm(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
) -> Attacked:
    """Fast gradient sign method (Goodfellow et al. 2015, section 4): the optimum of the linearised score.

    For linf, the sign of the gradient; for l2 and l1, the farthest point along the gradient inside ball and box. The
    step always starts at the clean image; `start` is only a candidate. Draws no random numbers.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    _, gradient = objective.ascent(images)
    objective.value(furthest(gradient, images, threat))
    return objective.attacked()
