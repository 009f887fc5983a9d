"""Poisson blending in a box of every image at once, exactly (Perez et al. 2003).

In a box the discrete Poisson equation is diagonal in sine waves. A batch of sine transforms of different lengths is
one batched matrix product with matrices that are zero beyond each box, so there is nothing to iterate. Boxes of about
the same size are solved together, each turned so that its longer side is the first: then little is beyond a box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from trainables.pseudo_anomalies._spots import Spots, boxes, lattice, read

IN_A_GROUP = 8


class Box(NamedTuple):
    """A box per image, corner and sides in pixels: int64 (B,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Windows(NamedTuple):
    """Windows on the boxes of some of the images (K,) and the pixels around them, padded to one size.

    first, second: (K, M) and (K, N), where in its image each line along either axis of a window lies; rows of the image
    are first, or second where `turned` (K,).
    """

    some: Tensor
    first: Tensor
    second: Tensor
    turned: Tensor

    def of(self, images: Tensor, number: Tensor | None = None) -> Tensor:
        """The windows (K, C, M, N) of these images, of which each takes the one of its own number if none is given."""
        return lattice(images, self.some if number is None else number, self.first, self.second, self.turned)


Gradients: TypeAlias = tuple[Tensor, Tensor]
"""Differences of (..., M, N) to the next along the first axis (..., M - 1, N) and along the second (..., M, N - 1)."""


def between(images: Tensor, number: Tensor, first: Tensor, second: Tensor, turned: Tensor) -> Tensor:
    """As `lattice`, of places between the pixels too, bilinear."""
    top, left = first.long(), second.long()
    bottom, right = first.ceil().long(), second.ceil().long()
    down, across = ((places - places.floor()).to(images.dtype) for places in (first, second))
    sides = ([lattice(images, number, row, line, turned) for line in (left, right)] for row in (top, bottom))
    upper, lower = (one.lerp(other, across[:, None, None, :]) for one, other in sides)
    return upper.lerp(lower, down[:, None, :, None])


def gradients(values: Tensor) -> Gradients:
    """Of windows (..., M, N)."""
    return values.diff(dim=-2), values.diff(dim=-1)


def stronger(first: Gradients, second: Gradients) -> Gradients:
    """Of two the one of the larger magnitude, at every place and in either direction."""
    down, right = (torch.where(a.abs() >= b.abs(), a, b) for a, b in zip(first, second, strict=True))
    return down, right


def solve(around: Tensor, wanted: Gradients, length: Tensor, breadth: Tensor) -> Tensor:
    """Values in boxes that meet their surroundings and come as near as can be to the wanted gradients.

    around: (B, C, M + 2, N + 2) windows; a box is lines 1..length and 1..breadth of its window, sides (B,).
    wanted: gradients of the window as `gradients` gives them. Returns (B, C, M, N), `around` itself outside the boxes.
    """
    # What is to be added to the window is 0 around the box, so that nothing of the frame comes into the equation.
    down, right = (there - here for there, here in zip(wanted, gradients(around), strict=True))
    down, right = down[..., 1:-1], right[..., 1:-1, :]
    divergence = down[..., :-1, :] - down[..., 1:, :] + right[..., :-1] - right[..., 1:]
    vertical, curve_y = _sines(length, divergence.shape[-2], around)
    horizontal, curve_x = _sines(breadth, divergence.shape[-1], around)
    waves = _along(_along(divergence, horizontal).mT, vertical) / (curve_x[:, None, :, None] + curve_y[:, None, None])
    added = _along(_along(waves, vertical).mT, horizontal)
    return around[..., 1:-1, 1:-1] + added


def blend(
    images: Tensor, box: Box, wanted: Callable[[Windows, Tensor], Gradients], chosen: Tensor | None = None
) -> tuple[Spots, Tensor]:
    """The pixels of one box per image and the values (N, C) in [0, 1] that blend something into them.

    box: not on the outermost pixels. wanted(windows, here): gradients for windows that now look like `here`.
    chosen: of these images (K,) alone.
    """
    if chosen is None:
        chosen = torch.arange(len(images), device=images.device)
    turned = box.width > box.height
    length, breadth = torch.maximum(box.height, box.width), torch.minimum(box.height, box.width)
    start = torch.where(turned, box.left, box.top), torch.where(turned, box.top, box.left)
    rows, columns = (side - 1 for side in images.shape[-2:])
    last = torch.where(turned, columns, rows), torch.where(turned, rows, columns)
    parts = []
    for some in chosen[length[chosen].argsort()].split(IN_A_GROUP):  # type: ignore[no-untyped-call]
        sides = length[some], breadth[some]
        first, second = (
            torch.minimum(
                corner[some, None] - 1 + torch.arange(int(side.amax()) + 2, device=images.device), most[some, None]
            )
            for corner, side, most in zip(start, sides, last, strict=True)
        )
        windows = Windows(some, first, second, turned[some])
        here = windows.of(images)
        solved = solve(here, wanted(windows, here), *sides)
        inside = boxes(torch.zeros_like(some), torch.zeros_like(some), *sides)
        along, across = first[inside.image, inside.row + 1], second[inside.image, inside.column + 1]
        flipped = windows.turned[inside.image]
        row, column = torch.where(flipped, across, along), torch.where(flipped, along, across)
        parts.append((Spots(some[inside.image], row, column), read(solved, inside).clamp(0, 1)))
    lists = zip(*(spots for spots, _ in parts), strict=True)
    return Spots(*map(torch.cat, lists)), torch.cat([values.T for _, values in parts], dim=1).T


def _along(values: Tensor, transform: Tensor) -> Tensor:
    """Values (B, C, M, N) transformed along their last axis by (B, N, N); one product an image for all channels."""
    return (values.flatten(1, 2) @ transform).view_as(values)


def _sines(length: Tensor, side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal sine transform (B, N, N) of each length, 0 beyond it, and the curvature (B, N) of its waves."""
    places = torch.arange(1, side + 1, device=like.device, dtype=like.dtype)
    within = (places <= length[:, None]).to(like.dtype)
    step = math.pi / (length + 1).to(like.dtype)[:, None, None]
    scale = (2 / (length + 1).to(like.dtype)).sqrt()[:, None, None]
    waves = scale * (step * places[:, None] * places).sin() * within[:, :, None] * within[:, None, :]
    curvature = 2 - 2 * (step[:, 0] * places).cos()
    # Beyond the length there are no waves; any number but 0 will do.
    return waves, torch.where(within > 0, curvature, 1)
