"""Corner: the darkest and the brightest image of the ball, where a monotone score has its extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import ends, furthest

NORMS = ("linf",)
KNOWLEDGE = "white-box"
NEEDS = "monotone"


def corner(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
) -> Attacked:
    """The best of three corners of the linf ball: all pixels darker, all brighter, and by the sign of the gradient.

    No other attack can do better than the first two on a score that only rises or only falls with each pixel
    (contracts.Monotone); the third is for a `mixed` one, on which this is no more than a cheap attack. Four forwards
    and a backward. `start` is only a candidate. Draws no random numbers.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    _, gradient = objective.ascent(images)
    for at in (*ends(images, threat.epsilon), furthest(gradient, images, threat)):
        objective.value(at)
    return objective.attacked()
