"""PGD: projected steps along the gradient, all of the same length."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks._ball import project, random_point, steepest, streams
from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.units import Count, Positive

NORMS = ("linf", "l2")
KNOWLEDGE = "white-box"


def pgd(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    generator: torch.Generator,
    *,
    start: Tensor | None = None,
    steps: Count = 20,
    restarts: Count = 1,
    step_size: Positive = 2.5,
    random_start: bool = True,
) -> Attacked:
    """Projected gradient descent (Madry et al. 2018, section 2.1).

    restarts: runs in all; the best image of any is kept.
    step_size: the length of the whole path over epsilon, so that one step is step_size * epsilon / steps.
    random_start: begin the first run at a random point instead of the clean image. A given `start` comes before
    both; further runs begin at random. From a random point of an l2 sphere the default path is a little short: on
    a linear score it turns all but 0.16 radians, 98.7 % of the optimum however many steps it is cut into.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    random = streams(generator, images)
    length = step_size * threat.epsilon / steps
    first = start if start is not None else None if random_start else images
    for run in range(restarts):
        at = first if run == 0 and first is not None else random_point(images, threat, random)
        for _ in range(steps):
            _, gradient = objective.ascent(at)
            at = project(at + length * steepest(gradient, threat.norm), images, threat)
        objective.value(at)
    return objective.attacked()
