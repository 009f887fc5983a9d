"""Random noise: the control that every other attack must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import random_points
from assay.units import Count

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "none"


def noise(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    draws: Count = 100,
) -> Attacked:
    """The best of `draws` random points: uniform in the linf ball, or with uniform directions on the l2 or l1 sphere.

    Needs scores only. `start` is only a candidate. Recommended as a control by Carlini et al. 2019.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    for point in random_points(images, threat, random, draws):
        objective.value(point)
    return objective.attacked()
