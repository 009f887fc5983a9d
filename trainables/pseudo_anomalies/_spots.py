"""Spots: some pixels of every image as one flat list, so that a small change costs what it covers, not the batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spots(NamedTuple):
    """The pixels' image, row and column: three int64 lists (N,); an image may have any number of them, also none."""

    image: Tensor
    row: Tensor
    column: Tensor

    def where(self, chosen: Tensor) -> Spots:
        """Those of the pixels for which `chosen` (N,) is True."""
        return Spots(self.image[chosen], self.row[chosen], self.column[chosen])


def boxes(top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Spots:
    """All pixels of one box per image; corner and sides in pixels (B,) int64. A side of 0 is no box."""
    device = top.device
    # Line by line: there are far fewer lines than pixels.
    owner = torch.arange(len(top), device=device).repeat_interleave(height)
    line = top[owner] + torch.arange(len(owner), device=device) - (height.cumsum(0) - height)[owner]
    across = width[owner]
    which = torch.arange(len(owner), device=device).repeat_interleave(across)
    start = (left[owner] - (across.cumsum(0) - across)).index_select(0, which)
    column = torch.arange(len(which), device=device) + start
    return Spots(owner.index_select(0, which), line.index_select(0, which), column)


def places(images: Tensor, spots: Spots) -> Tensor:
    """Where the pixels' values are in the images: int64 (C, N), channel by channel, for `take` and `put_`."""
    channels, height, width = images.shape[1:]
    first = (spots.image * (channels * height) + spots.row) * width + spots.column
    return first + torch.arange(channels, device=first.device)[:, None] * (height * width)


def read(images: Tensor, spots: Spots) -> Tensor:
    """The pixels' values (N, C), each channel a list by itself in memory, which is faster than pixel by pixel."""
    return images.take(places(images, spots)).T


def sample(images: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values (N, C) between pixels, bilinear: at row y and column x (N,) of the given images; the border repeats."""
    height, width = images.shape[-2:]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    down, across = (y - top).to(images.dtype), (x - left).to(images.dtype)
    corner = places(images, Spots(image, top, left))
    below = width * (top < height - 1)
    beside = (left < width - 1).long()
    upper = images.take(corner).lerp(images.take(corner + beside), across)
    corner = corner + below
    return upper.lerp(images.take(corner).lerp(images.take(corner + beside), across), down).T


def lattice(images: Tensor, number: Tensor, first: Tensor, second: Tensor, turned: Tensor) -> Tensor:
    """Pixels (K, C, M, N) of the images of these numbers (K,), at every pair of places along its two axes.

    first, second: (K, M) and (K, N). Rows of an image are the first axis, or the second where `turned` (K,).
    """
    channels, height, width = images.shape[1:]
    places = torch.arange(channels, device=images.device)[:, None, None] * (height * width)
    step, across = torch.where(turned, 1, width), torch.where(turned, width, 1)
    start = number[:, None] * (channels * height * width)
    along = start + first * step[:, None]
    return images.take(places + along[:, None, :, None] + (second * across[:, None])[:, None, None, :])


def windows(images: Tensor, image: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Windows (K, C, height, width) of the given images (K,) from (top, left) on; beyond the border it repeats."""
    rows = (top[:, None] + torch.arange(height, device=images.device)).clamp(0, images.shape[-2] - 1)
    columns = (left[:, None] + torch.arange(width, device=images.device)).clamp(0, images.shape[-1] - 1)
    return lattice(images, image, rows, columns, torch.zeros_like(image, dtype=torch.bool))
