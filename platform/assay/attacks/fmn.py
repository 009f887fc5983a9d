"""FMN: projected steps in a ball that shrinks while the decision is crossed and grows while it is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective, Precision
from assay.contracts import Attacked, Norm, ThreatModel
from assay.norm_balls import outward, project, size, sparse_share, steepest
from assay.units import Count

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "white-box"

DUAL: dict[Norm, Norm] = {"linf": "l1", "l2": "l2", "l1": "linf"}
GAMMA, TINY = 0.05, 1e-30
"""Initial rate at which the ball shrinks and grows (section 2.2); divisor used instead of a zero gradient."""


def fmn(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 20,
    precision: Precision = "tf32",
) -> Attacked:
    """Fast minimum-norm attack (Pintor et al. 2021, algorithm 1), from the clean image or from `start`.

    Without a threshold, and where the clean image is already beyond it, the ball keeps radius epsilon. Every iterate is
    also extended along its own direction to the edge of that ball and scored, so that epsilon is used in full. Step
    lengths decay from epsilon to 0 by half a cosine, as does the rate of the ball. Draws no random numbers.
    precision: of the steps on a GPU; the result is confirmed in float32.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS, precision=precision)
    at = images if start is None else start
    ever, radius = torch.zeros(len(images), dtype=torch.bool, device=images.device), None
    for step in range(steps):
        left = (1 + math.cos(math.pi * step / steps)) / 2
        done = step / steps + math.sin(math.pi * step / steps) / math.pi
        value, gradient = objective.ascent(at)
        if threat.threshold is not None:
            missing, length = objective.missing(value), size(at - images, threat.norm)
            crosses = missing <= 0
            ever = ever | crosses
            away = length + missing / size(gradient, DUAL[threat.norm]).clamp(min=TINY)
            grown = away if radius is None else torch.where(ever, radius * (1 + GAMMA * left), away)
            radius = torch.where(crosses, length * (1 - GAMMA * left), grown).clamp(max=threat.epsilon)
        ahead = steepest(gradient, threat.norm, at, sparse_share(done, images[0].numel()))
        at = project(at + left * threat.epsilon * ahead, images, threat, radius)
        objective.value(outward(at, images, threat))
    return objective.attacked()
