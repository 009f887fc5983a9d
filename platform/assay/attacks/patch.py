"""Patch: one square of arbitrary content, placed where it does most harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.attacks._objective import Objective, Precision
from assay.attacks._windows import window
from assay.contracts import Attacked, ThreatModel
from assay.errors import InputError
from assay.norm_balls import per_image, size
from assay.units import Count, Fraction, Positive

NORMS = ("patch",)
KNOWLEDGE = "white-box"

GRID = 8  # at most this many positions per side at which a black and a white square are tried


def patch(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 50,
    restarts: Count = 4,
    step_size: Positive = 0.3,
    momentum: Fraction = 0.75,
    precision: Precision = "tf32",
) -> Attacked:
    """Adversarial patch (Brown et al. 2017) at a position chosen per image; its pixels are optimised by sign steps.

    epsilon: share of the image's area. The side of the square is the largest whole number of pixels within it.
    restarts: number of positions tried, alternating between those with the largest gradient and those where a black or
    white square had most effect; a `start` is continued first, in its own position. step_size: length of the first
    step, in pixel scale; steps decay to 0. momentum: share of the last gradients kept at each step. precision: of the
    steps on a GPU; the result is confirmed in float32. Draws no random numbers. Raises InputError for a `start` that
    changes more than one such square.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS, precision=precision)
    height, width = images.shape[2:]
    side = min(math.isqrt(int(threat.epsilon * height * width + 1e-6)), height, width)
    first = images if start is None else start
    begun = _changed(images, first, side)
    if side == 0:
        return objective.attacked()
    _, gradient = objective.ascent(images)
    begin = torch.where(gradient > 0, 1.0, 0.0).to(images)
    promised, tried = _promised(images, gradient, side), _tried(objective, images, side)
    for run in range(restarts):
        corner, content = next(tried if run % 2 else promised), begin
        if run == 0:
            corner = torch.where(begun >= 0, begun, corner)
            content = torch.where(per_image((begun >= 0).all(1)), first, begin)
        inside, *_ = window(corner, side, height, width)
        at, kept = torch.where(inside, content, images), torch.zeros_like(images)
        for step in range(steps):
            _, gradient = objective.ascent(at)
            gradient = gradient * inside
            total = per_image(size(gradient, "l1")).to(gradient)
            kept = momentum * kept + gradient / torch.where(total > 0, total, 1)
            length = step_size * (1 + math.cos(math.pi * step / steps)) / 2
            at = (at + length * kept.sign()).clamp(0, 1)
        objective.value(at)
    return objective.attacked()


def _promised(images: Tensor, gradient: Tensor, side: int) -> Iterator[Tensor]:
    """Corners (B, 2) of the squares in which a linear score would gain most, best first."""
    gain = torch.where(gradient > 0, gradient * (1 - images), -gradient * images).sum(1, keepdim=True)
    return _best_places(F.avg_pool2d(gain, side, stride=1).squeeze(1), side)


def _tried(objective: Objective, images: Tensor, side: int) -> Iterator[Tensor]:
    """Corners (B, 2) of the squares at which black or white had most effect, best first; queries when first used."""
    height, width = images.shape[2:]
    effects = torch.full((len(images), height - side + 1, width - side + 1), -torch.inf, device=images.device)
    for row in _spread(height - side, side):
        for column in _spread(width - side, side):
            corner = torch.tensor([[row, column]], device=images.device)
            inside, *_ = window(corner, side, height, width)
            shades = [objective.value(images.masked_fill(inside, shade)) for shade in (0.0, 1.0)]
            effects[:, row, column] = torch.maximum(*shades)
    yield from _best_places(effects, side)


def _spread(last: int, side: int) -> list[int]:
    """Up to GRID evenly spaced positions from 0 to `last`, no denser than needed to cover it with such squares."""
    count = min(GRID, math.ceil(last / side) + 1)
    return sorted({round(place * last / max(1, count - 1)) for place in range(count)})


def _best_places(value: Tensor, side: int) -> Iterator[Tensor]:
    """Positions (B, 2) of the largest of values (B, H, W), each at least half a side away from the earlier ones."""
    rows, columns = (torch.arange(count, device=value.device) for count in value.shape[1:])
    while True:
        place = value.flatten(1).argmax(1)
        row, column = place // value.shape[2], place % value.shape[2]
        yield torch.stack([row, column], 1)
        above, beside = (rows - row[:, None]).abs() * 2 < side, (columns - column[:, None]).abs() * 2 < side
        value = value.masked_fill(above[:, :, None] & beside[:, None], -torch.inf)


def _changed(images: Tensor, start: Tensor, side: int) -> Tensor:
    """Corners (B, 2) of squares that cover what `start` changes; -1 where it changes nothing."""
    changed = (start != images).any(1)
    corners = []
    for lines in (changed.any(2), changed.any(1)):
        first, last = lines.int().argmax(1), lines.shape[1] - 1 - lines.flip(1).int().argmax(1)
        wide = lines.any(1) & (last - first >= side)
        if bool(wide.any()):
            raise InputError(
                f"start may change at most one square of {side} x {side} pixels at this epsilon; "
                f"{int(wide.sum())} of {len(images)} images change more"
            )
        corners.append(torch.where(lines.any(1), first.clamp(max=lines.shape[1] - max(side, 1)), -1))
    return torch.stack(corners, 1)
