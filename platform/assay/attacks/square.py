"""Square: random search over square windows of the perturbation; needs scores only, so no gradient can mislead it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.attacks._windows import window
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import per_image, project, size
from assay.units import Count, Fraction

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "score"

HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the area of the windows is halved."""
TINY = 1e-24


def square(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    queries: Count = 2000,
    area: Fraction = 0.8,
) -> Attacked:
    """Square attack (Andriushchenko et al. 2020, algorithms 1 to 3; for l1 as for l2) on the raw score.

    queries: images tried, one forward each. area: share of the image covered by the first windows.
    Starts with stripes (linf) or tiles (l2, l1), or at `start` where that is better.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    channels, height, width = images.shape[1:]
    dice = _uniform(random, queries, 5 + channels)
    at = images if start is None else start
    value = objective.value(at)
    for query in range(queries):
        share = area / 2 ** sum(query >= part * queries for part in HALVED_AT)
        side = max(1, min(round((share * height * width) ** 0.5), height, width))
        if query == 0:
            candidate = (_stripes if threat.norm == "linf" else _tiles)(images, threat, random)
        else:
            candidate = (_painted if threat.norm == "linf" else _carried)(at, images, threat, dice[:, query], side)
        reached = objective.value(candidate)
        # Ties count as better, which lets the search cross plateaus of a score with few levels.
        better = reached >= value
        at, value = torch.where(per_image(better), candidate, at), torch.where(better, reached, value)
    return objective.attacked()


def _uniform(random: Sequence[torch.Generator], *shape: int) -> Tensor:
    """(B, *shape) in [0, 1), each image from its own generator."""
    return torch.stack([torch.rand(shape, generator=one, device=one.device) for one in random])


def _stripes(images: Tensor, threat: ThreatModel, random: Sequence[torch.Generator]) -> Tensor:
    """Every column of every channel moved by +epsilon or -epsilon."""
    signs = _sign(_uniform(random, images.shape[1], 1, images.shape[3]))
    return project(images + threat.epsilon * signs, images, threat)


def _painted(at: Tensor, clean: Tensor, threat: ThreatModel, dice: Tensor, side: int) -> Tensor:
    """`at` with each channel of one window moved by +epsilon or -epsilon from the clean image."""
    corner = _corner(dice[:, :2], side, clean)
    inside, *_ = window(corner, side, *clean.shape[2:])
    signs = _sign(dice[:, 5:, None, None])
    # Painting the same signs again would waste the query.
    there = (at - clean)[torch.arange(len(at), device=at.device), :, corner[:, 0], corner[:, 1]].sign()[
        :, :, None, None
    ]
    signs = torch.where((signs == there).all(1, keepdim=True), -signs, signs)
    return torch.where(inside, project(clean + threat.epsilon * signs, clean, threat), at)


def _tiles(images: Tensor, threat: ThreatModel, random: Sequence[torch.Generator]) -> Tensor:
    """A grid of bumps of random sign, about five by five, scaled to the size of the ball."""
    channels, height, width = images.shape[1:]
    side = max(3, min(height, width) // 5)
    rows, columns = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    signs = _sign(_uniform(random, channels, height // side + 1, width // side + 1))
    bumps = _bump(side, images)[rows % side, columns % side] * signs[:, :, rows // side, columns // side]
    return project(images + bumps * per_image(threat.epsilon / size(bumps, threat.norm)).to(images), images, threat)


def _carried(at: Tensor, clean: Tensor, threat: ThreatModel, dice: Tensor, side: int) -> Tensor:
    """`at` with the perturbation of one window, and the unused rest of the ball, moved to a bump in another window."""
    moved, order = at - clean, 1 if threat.norm == "l1" else 2
    here, row, column = window(_corner(dice[:, :2], side, clean), side, *clean.shape[2:])
    there, *_ = window(_corner(dice[:, 2:4], side, clean), side, *clean.shape[2:])
    bump = _bump(side, clean)
    bump = torch.where(per_image(dice[:, 4]) < 0.5, bump[row, column].unsqueeze(1), bump[column, row].unsqueeze(1))

    def mass(part: Tensor) -> Tensor:
        return part.abs().pow(order).sum((2, 3), keepdim=True)

    old = here * moved
    new = here * bump * _sign(dice[:, 5:, None, None]) + old / mass(old).clamp(min=TINY).pow(1 / order)
    left = (threat.epsilon**order - mass(moved).sum(1, keepdim=True)).clamp(min=0) / clean.shape[1]
    new = new * ((left + mass(moved * (here | there))) / mass(new).clamp(min=TINY)).pow(1 / order)
    return project(clean + moved.masked_fill(here | there, 0) + new, clean, threat)


def _sign(dice: Tensor) -> Tensor:
    return torch.where(dice < 0.5, -1.0, 1.0)


def _corner(dice: Tensor, side: int, images: Tensor) -> Tensor:
    """Corners (B, 2) of windows, uniform over all positions inside the image."""
    rows, columns = images.shape[2] - side + 1, images.shape[3] - side + 1
    return torch.stack([dice[:, 0] * rows, dice[:, 1] * columns], dim=1).long()


def _bump(side: int, like: Tensor) -> Tensor:
    """(side, side) of unit l2 norm: a peak in the upper half, a trough in the lower, each made of falling rings."""
    if side == 1:
        return torch.ones_like(like[0, 0, :1, :1])
    half = [side // 2, side - side // 2]
    parts = [sign * _rings(height, side, like) for sign, height in zip((1, -1), half, strict=True)]
    whole = torch.cat(parts)
    return whole / whole.square().sum().sqrt()


def _rings(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width): 1 / n^2 summed from the rim inwards, where n is 1 at the innermost ring."""
    rows, columns = torch.arange(height, device=like.device), torch.arange(width, device=like.device)
    ring = torch.minimum(
        torch.minimum(rows, height - 1 - rows)[:, None], torch.minimum(columns, width - 1 - columns)[None]
    )
    deepest = (min(height, width) + 1) // 2
    heights = 1 / torch.arange(deepest, 0, -1, device=like.device, dtype=like.dtype) ** 2
    return heights.cumsum(0)[ring]
