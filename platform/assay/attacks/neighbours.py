"""Neighbours: attacks a nearest-neighbour score through smoother scores, whose gradients see more neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective, Precision
from assay.attacks._smoother import Pool, Smoother, soft_minimum, targets
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import per_image, project, random_point, size, steepest
from assay.units import Count

NORMS = ("linf", "l2")
KNOWLEDGE = "white-box"
NEEDS = "neighbours"

TEMPERATURES = (0.02, 0.1, 0.5)
"""Of the soft minima, relative to the deviation of an image's distances: from almost the minimum to almost the mean."""
POLISH = 0.6
"""Share of the steps that continue from the best image found, by the true score."""
MOMENTUM = 0.75


def neighbours(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 100,
    precision: Precision = "tf32",
) -> Attacked:
    """An ensemble of losses for nearest-neighbour scores, after Sitawarin & Wagner 2020 and ASK (Wang et al. 2021).

    The steps are split equally between the true score, soft minima of the distances at three temperatures, and the mean
    distance to the rows nearest to the clean image, each from a random point of the ball (the first from `start`, if
    given). The remaining steps continue from the best image. Images are compared by the true score only. Steps have
    momentum and decay to 0; a step on a surrogate loss costs two forwards and a backward. precision: of the steps on a
    GPU; the result is confirmed in float32.
    Raises InputError for a detector without `score_with` (contracts.SoftNeighbours).
    """
    smoother = Smoother(score)
    objective = Objective(smoother, images, direction, threat, start, norms=NORMS, precision=precision)
    pools: list[Pool | None] = [None, *(soft_minimum(t) for t in TEMPERATURES), targets(smoother, images)]
    each = max(1, round((1 - POLISH) * steps / len(pools)))
    best, value = images, objective.value(images)
    for run, smoother.pool in enumerate(pools[:steps]):
        at = start if run == 0 and start is not None else random_point(images, threat, random)
        best, value = _climb(objective, at, images, threat, 2 * threat.epsilon, each, (best, value))
    smoother.pool = None
    _climb(objective, best, images, threat, threat.epsilon, steps - each * len(pools[:steps]), (best, value))
    return smoother.counted(objective.attacked())


def _climb(
    objective: Objective,
    at: Tensor,
    clean: Tensor,
    threat: ThreatModel,
    length: float,
    steps: int,
    best: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """The better of `best` and the result of a run of `steps`: images and values. length: of the first step."""
    kept = torch.zeros_like(at)
    for step in range(steps):
        value, gradient = objective.ascent(at)
        best = _better(at, value, *best)
        total = per_image(size(gradient, "l1")).to(gradient)
        kept = MOMENTUM * kept + gradient / torch.where(total > 0, total, 1)
        now = length * (1 + math.cos(math.pi * step / steps)) / 2
        at = project(at + now * steepest(kept, threat.norm), clean, threat)
    return _better(at, objective.value(at), *best)


def _better(images: Tensor, value: Tensor, others: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    better = value > highest
    return torch.where(per_image(better), images, others), torch.where(better, value, highest)
