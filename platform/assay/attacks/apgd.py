"""Auto-PGD: projected gradient steps with momentum whose length is halved, image by image, when progress stalls."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks._ball import per_image, project, random_point, steepest, streams
from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.units import Count

NORMS = ("linf", "l2")
KNOWLEDGE = "white-box"

MOMENTUM = 0.75
"""Weight of the new step against the direction of the last one (alpha in the paper)."""
RISING = 0.75
"""The part of the steps since the last checkpoint that must have raised the score (rho in the paper)."""


def apgd(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    generator: torch.Generator,
    *,
    start: Tensor | None = None,
    steps: Count = 100,
    restarts: Count = 1,
) -> Attacked:
    """Auto-PGD on the raw score (Croce & Hein 2020, algorithm 1).

    restarts: runs in all; the best image of any is kept. The first run begins at `start` if given, every other at a
    random point of the ball.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    random = streams(generator, images)
    for run in range(restarts):
        at = start if run == 0 and start is not None else random_point(images, threat, random)
        _climb(objective, at, images, threat, steps)
    return objective.attacked()


def checkpoints(steps: int) -> set[int]:
    """The steps at which progress is judged, more often towards the end (Croce & Hein 2020, section 3)."""
    marks, last, this = set(), 0.0, 0.22
    while this < 1:
        marks.add(math.ceil(round(this * steps, 6)))  # 57 of 100, not 58 for 57.000000000000007
        last, this = this, this + max(this - last - 0.03, 0.06)
    return marks


def _climb(objective: Objective, at: Tensor, clean: Tensor, threat: ThreatModel, steps: int) -> None:
    """One run of `steps` forward and backward passes, and a forward for its last image."""
    marks, judged = checkpoints(steps), 0
    before = best = at
    value, gradient = objective.ascent(at)
    best_value, best_gradient, judged_value = value, gradient, value
    length = torch.full_like(value, 2 * threat.epsilon)
    rises, halved = torch.zeros_like(value), torch.zeros_like(value, dtype=torch.bool)
    for step in range(steps):
        if step > 0:
            last = value
            value, gradient = objective.ascent(at)
            rises += value > last
            better = value > best_value
            best_value = torch.where(better, value, best_value)
            best = torch.where(per_image(better), at, best)
            best_gradient = torch.where(per_image(better), gradient, best_gradient)
        if step in marks:
            stalled = (rises < RISING * (step - judged)) | (~halved & (best_value <= judged_value))
            length = torch.where(stalled, length / 2, length)
            value = torch.where(stalled, best_value, value)
            at = torch.where(per_image(stalled), best, at)
            gradient = torch.where(per_image(stalled), best_gradient, gradient)
            rises, halved, judged, judged_value = torch.zeros_like(value), stalled, step, best_value
        ahead = project(at + per_image(length) * steepest(gradient, threat.norm), clean, threat)
        if step > 0:  # the first step has no direction to keep
            ahead = project(at + MOMENTUM * (ahead - at) + (1 - MOMENTUM) * (at - before), clean, threat)
        before, at = at, ahead
    objective.value(at)
