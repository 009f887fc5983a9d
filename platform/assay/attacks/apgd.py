"""Auto-PGD: projected gradient steps that shrink per image when progress stalls (for l1, they also get sparser)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective, Precision
from assay.attacks._runs import beginnings, warm_step
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import outward, per_image, project, steepest
from assay.units import Count

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "white-box"

MOMENTUM = 0.75
"""Weight of the new step against the previous direction (alpha in the paper)."""
RISING = 0.75
"""Share of the steps since the last checkpoint that must have raised the score (rho in the paper)."""
SHARE, THINNER, SHORTEST, PERIOD = 0.2, 1.5, 0.1, 0.04
"""l1 (Croce & Hein 2021, section 4): share of the entries moved at first; divisor of that share and of the step;
shortest step over epsilon; share of the steps between two checkpoints."""


def apgd(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 100,
    restarts: Count = 1,
    warm_steps: Count | None = None,
    precision: Precision = "tf32",
) -> Attacked:
    """Auto-PGD on the raw score (Croce & Hein 2020, algorithm 1; for l1 Croce & Hein 2021, algorithm 1).

    restarts: number of runs; the best image of all is kept. The first run starts at `start` if given, all others at
    random points of the ball.
    warm_steps: if a `start` is given, move it outward to the edge of the ball and make a single run of this many
    shrinking steps instead of all runs. Saves most of the cost of a larger epsilon.
    precision: of the steps on a GPU; the result is confirmed in float32.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS, precision=precision)
    first = start
    length = torch.full((len(images),), (1 if threat.norm == "l1" else 2) * threat.epsilon).to(images)
    if start is not None and warm_steps is not None:
        first, restarts, steps = outward(start, images, threat), 1, warm_steps
        length = warm_step(start, images, threat)
    climb = _climb_l1 if threat.norm == "l1" else _climb
    for at, clean in beginnings(images, threat, random, first, restarts):
        climb(objective, at, clean, threat, steps, length.repeat(len(at) // len(images)))
    return objective.attacked()


def checkpoints(steps: int) -> set[int]:
    """The steps at which progress is checked, more often towards the end (Croce & Hein 2020, section 3)."""
    marks, last, this = set(), 0.0, 0.22
    while this < 1:
        marks.add(math.ceil(round(this * steps, 6)))  # 57 of 100, not 58 for 57.000000000000007
        last, this = this, this + max(this - last - 0.03, 0.06)
    return marks


def _climb(objective: Objective, at: Tensor, clean: Tensor, threat: ThreatModel, steps: int, length: Tensor) -> None:
    """One run: a forward and a backward pass per step, and a forward for the last image."""
    marks, judged = checkpoints(steps), 0
    before = best = at
    value, gradient = objective.ascent(at)
    best_value, best_gradient, judged_value = value, gradient, value
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
        if step > 0:  # the first step has no previous direction
            ahead = project(at + MOMENTUM * (ahead - at) + (1 - MOMENTUM) * (at - before), clean, threat)
        before, at = at, ahead
    objective.value(at)


def _climb_l1(objective: Objective, at: Tensor, clean: Tensor, threat: ThreatModel, steps: int, length: Tensor) -> None:
    """The l1 variant: the best image so far determines how many entries to move; there is no momentum."""

    def entries(images: Tensor) -> Tensor:
        count = (images != clean).flatten(1).sum(1).float()
        return torch.where(count > 0, count, clean[0].numel())

    full, period = length, max(1, int(PERIOD * steps))
    best, moved = at, entries(at)
    share = (moved / clean[0].numel() / THINNER).clamp(max=SHARE)
    value, gradient = objective.ascent(at)
    best_value, best_gradient = value, gradient
    for step in range(steps):
        if step > 0:
            value, gradient = objective.ascent(at)
            better = value > best_value
            best_value = torch.where(better, value, best_value)
            best = torch.where(per_image(better), at, best)
            best_gradient = torch.where(per_image(better), gradient, best_gradient)
            if step % period == 0:
                before, moved = moved, entries(best)
                share = moved / clean[0].numel() / THINNER
                thinner = moved < 0.95 * before  # if the image got sparser, restart with full steps; else shorten them
                length = torch.where(thinner, full, torch.maximum(length / THINNER, SHORTEST * full))
                at = torch.where(per_image(thinner), best, at)
                gradient = torch.where(per_image(thinner), best_gradient, gradient)
        at = project(at + per_image(length) * steepest(gradient, "l1", at, share), clean, threat)
    objective.value(at)
