"""Spatial: a small rotation and shift of the image, as if the camera had moved."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import per_image
from assay.units import Count, Fraction, Positive

NORMS = ("spatial",)
KNOWLEDGE = "score"


def spatial(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    queries: Count = 200,
    degrees: Positive = 15.0,
    shift: Fraction = 0.1,
) -> Attacked:
    """Rotation and translation (Engstrom et al. 2019) by scores only: extremes, random search, then local search.

    epsilon: share of the largest rotation, `degrees` to either side, and of the largest shift, `shift` of the side.
    Pixels are interpolated linearly; the image is mirrored at its borders. `start` is only a candidate.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    best = torch.zeros(len(images), 3, device=images.device)
    value = objective.value(images)
    limits = threat.epsilon * torch.tensor([math.radians(degrees), 2 * shift, 2 * shift], device=images.device)
    extremes = best.new_tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))
    draws = torch.stack([torch.rand(queries, 3, generator=one, device=one.device) for one in random], dim=1) * 2 - 1
    for query in range(queries):
        draw = draws[query]
        if query < len(extremes):
            candidate = extremes[query].expand_as(best)
        elif query < queries / 2:
            candidate = draw
        else:
            # The search radius halves with every eighth of the queries.
            candidate = (best + draw * 0.5 * 2 ** (-8 * (query / queries - 0.5))).clamp(-1, 1)
        reached = objective.value(moved(images, candidate * limits))
        better = reached > value
        best, value = torch.where(better[:, None], candidate, best), torch.where(better, reached, value)
    return objective.attacked()


def moved(images: Tensor, by: Tensor) -> Tensor:
    """The images rotated and shifted by (B, 3): radians, then two shifts in half sides; unchanged where all are 0."""
    angle, right, down = by.to(images).unbind(1)
    sine, cosine, tall = angle.sin(), angle.cos(), images.shape[2] / images.shape[3]
    rows = [torch.stack([cosine, -sine * tall, right], 1), torch.stack([sine / tall, cosine, down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
    return torch.where(per_image((by == 0).all(1)), images, turned)
