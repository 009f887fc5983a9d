"""FGSM: one step of the full radius along the gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks._ball import project, steepest
from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel

NORMS = ("linf", "l2")
KNOWLEDGE = "white-box"


def fgsm(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    generator: torch.Generator,
    *,
    start: Tensor | None = None,
) -> Attacked:
    """Fast gradient sign method (Goodfellow et al. 2015, section 4); for l2 the normalised gradient.

    The step is always taken from the clean image; `start` is only a candidate. Draws no random numbers.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    _, gradient = objective.ascent(images)
    objective.value(project(images + threat.epsilon * steepest(gradient, threat.norm), images, threat))
    return objective.attacked()
