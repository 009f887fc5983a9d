"""Random noise: what an attacker gets without looking, the control every attack has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import random_point
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
    """The best of `draws` random points: uniform in the linf ball, uniform directions on the l2 and l1 spheres.

    Needs scores alone. `start` is only a candidate. A control asked for by Carlini et al. 2019.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    for _ in range(draws):
        objective.value(random_point(images, threat, random))
    return objective.attacked()
