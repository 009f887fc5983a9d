"""Poisson blending in a box of every image at once, exactly (Perez et al. 2003).

In a box the discrete Poisson equation is diagonal in sine waves. A batch of sine transforms of different lengths is
one batched matrix product with matrices that are zero beyond each box, so there is nothing to iterate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from trainables.pseudo_anomalies._spots import Spots, boxes, read, windows

GROUPS = 8


class Box(NamedTuple):
    """A box per image, corner and sides in pixels: int64 (B,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


Gradients: TypeAlias = tuple[Tensor, Tensor]
"""Differences of (..., H, W) to the next row (..., H - 1, W) and to the next column (..., H, W - 1)."""


def gradients(values: Tensor) -> Gradients:
    """Of windows (..., H, W)."""
    return values.diff(dim=-2), values.diff(dim=-1)


def stronger(first: Gradients, second: Gradients) -> Gradients:
    """Of two the one of the larger magnitude, at every place and in either direction."""
    down, right = (torch.where(a.abs() >= b.abs(), a, b) for a, b in zip(first, second, strict=True))
    return down, right


def solve(around: Tensor, wanted: Gradients, height: Tensor, width: Tensor) -> Tensor:
    """Values in boxes that meet their surroundings and come as near as can be to the wanted gradients.

    around: (B, C, M + 2, N + 2) windows of the images; a box is rows 1..height and columns 1..width of its window.
    wanted: gradients of the window as `gradients` gives them. Returns (B, C, M, N), 0 outside the boxes.
    """
    rows, columns = _within(height, around.shape[-2] - 2, around), _within(width, around.shape[-1] - 2, around)
    box = (rows[:, :, None] * columns[:, None, :])[:, None]
    frame = around * (1 - torch.nn.functional.pad(box, (1, 1, 1, 1)))
    down, right = wanted
    down, right = down[..., 1:-1], right[..., 1:-1, :]
    divergence = down[..., :-1, :] - down[..., 1:, :] + right[..., :-1] - right[..., 1:]
    beside = frame[..., :-2, 1:-1] + frame[..., 2:, 1:-1] + frame[..., 1:-1, :-2] + frame[..., 1:-1, 2:]
    vertical, curve_y = _sines(height, rows)
    horizontal, curve_x = _sines(width, columns)
    waves = vertical @ ((divergence + beside) * box) @ horizontal
    return vertical @ (waves / (curve_y[..., :, None] + curve_x[..., None, :])) @ horizontal


def blend(images: Tensor, box: Box, wanted: Callable[[Tensor, Tensor, int, int], Gradients]) -> tuple[Spots, Tensor]:
    """The pixels of one box per image and the values (N, C) in [0, 1] that blend something into them.

    box: not on the outermost pixels. wanted(some, here, height, width): gradients for the windows `here` (K, C, height,
    width) around some boxes (K,); boxes of about the same size come together, so that no window is much too large.
    """
    parts = []
    for some in (box.height * box.width).argsort().chunk(GROUPS):
        top, left, tall, wide = (sides[some] for sides in box)
        height, width = int(tall.amax()) + 2, int(wide.amax()) + 2
        here = windows(images, some, top - 1, left - 1, height, width)
        solved = solve(here, wanted(some, here, height, width), tall, wide)
        inside = boxes(torch.zeros_like(top), torch.zeros_like(left), tall, wide)
        spots = Spots(some[inside.image], inside.row + top[inside.image], inside.column + left[inside.image])
        parts.append((spots, read(solved, inside).clamp(0, 1)))
    lists = zip(*(spots for spots, _ in parts), strict=True)
    return Spots(*map(torch.cat, lists)), torch.cat([values for _, values in parts])


def _within(length: Tensor, side: int, like: Tensor) -> Tensor:
    """1 on the first `length` of `side` places, else 0: (B, side)."""
    return (torch.arange(side, device=like.device) < length[:, None]).to(like.dtype)


def _sines(length: Tensor, within: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal sine transform (B, 1, N, N) of each length and the curvature (B, 1, N) of its waves."""
    places = torch.arange(1, within.shape[1] + 1, device=within.device, dtype=within.dtype)
    step = math.pi / (length + 1).to(within.dtype)[:, None, None]
    scale = (2 / (length + 1).to(within.dtype)).sqrt()[:, None, None]
    waves = scale * (step * places[:, None] * places).sin() * within[:, :, None] * within[:, None, :]
    curvature = 2 - 2 * (step[:, 0] * places).cos()
    # Beyond the length there are no waves; any number but 0 will do.
    return waves[:, None], torch.where(within > 0, curvature, 1)[:, None]
