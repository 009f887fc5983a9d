"""Boundary: moves along the decision boundary towards the clean image, using decisions only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from assay.attacks._decisions import Decisions
from assay.attacks._objective import Objective
from assay.attacks._slope import gaussian
from assay.contracts import Attacked, ThreatModel
from assay.errors import InputError
from assay.norm_balls import outward, per_image, project, steepest
from assay.units import Count, Positive

NORMS = ("linf", "l2")
KNOWLEDGE = "label"

TURNS = (1.0, 0.3)
"""Step lengths tried along the estimated normal, relative to the current distance from the clean image."""


def boundary(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 20,
    probes: Count = 80,
    width: Positive = 0.1,
) -> Attacked:
    """HopSkipJump (Chen et al. 2020) with GeoDA's step (Rahmati et al. 2020); sees only score > threat.threshold.

    Starts at an image with the other decision: noise, black, white, the negative or `start`; if none of them has it, at
    the nearest such image of the batch (only then does a result depend on the batch). Each step queries `probes` images
    around the boundary at `width` times the current distance, estimates the normal from all answers so far, and moves
    wherever that shortens the distance. A boundary inside the ball is overstepped as far as the ball and the decision
    allow; of the way to one outside, the part in the ball is returned. Raises InputError without a threshold.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    if threat.threshold is None:
        raise InputError(
            "boundary sees decisions only, so the threat model needs a threshold: "
            "ThreatModel(norm, epsilon, threshold); or use an attack that sees scores, such as square"
        )
    seen = Decisions(objective, images, direction, threat, threat.threshold, asked=1 if start is None else 2)
    for opening in _openings(images, random, start):
        seen.offer([opening])
    seen.offer_nearest_of_the_batch()
    normal = torch.zeros_like(images)
    for _ in range(steps):
        normal = normal + seen.normal(width, gaussian(random, images, probes))
        ahead = per_image(seen.radius) * steepest(normal, threat.norm)
        seen.offer([images + ahead, *(seen.found + turn * ahead for turn in TURNS)], seen.known)
    last, further = project(seen.found, images, threat), outward(seen.found, images, threat)
    objective.value(torch.where(per_image((seen.radius <= threat.epsilon) & seen.wanted(further)), further, last))
    result = objective.attacked()
    if result.broken_at is None:
        return result
    sooner = torch.minimum(seen.crossed_at, result.broken_at)
    return result._replace(broken_at=torch.where(seen.crossed_at > 0, sooner, result.broken_at))


def _openings(images: Tensor, random: Sequence[torch.Generator], start: Tensor | None) -> Iterator[Tensor]:
    """Images far from any photograph; which decision each one gets is a matter of chance."""
    yield from [] if start is None else [start]
    yield torch.stack([torch.rand(images.shape[1:], generator=one, device=one.device) for one in random]).to(images)
    yield from (torch.zeros_like(images), torch.ones_like(images), 1 - images)
