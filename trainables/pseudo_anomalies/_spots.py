"""Spots: some pixels of every image in one flat list; a change then costs what it covers, not the whole batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spots(NamedTuple):
    """Image, row and column of each pixel: int64 (N,) each; an image may have any number of pixels, or none."""

    image: Tensor
    row: Tensor
    column: Tensor

    def where(self, chosen: Tensor) -> Spots:
        """The pixels for which `chosen` (N,) is True, or those with these numbers (K,)."""
        return Spots(self.image[chosen], self.row[chosen], self.column[chosen])


def lines(image: Tensor, row: Tensor, left: Tensor, width: Tensor) -> Spots:
    """The pixels of row segments, given by image, row, first column and width: int64 (L,) each. A width may be 0."""
    which = torch.arange(len(image), device=image.device).repeat_interleave(width)
    start = (left - (width.cumsum(0) - width)).index_select(0, which)
    column = torch.arange(len(which), device=image.device) + start
    return Spots(image.index_select(0, which), row.index_select(0, which), column)


def places(images: Tensor, spots: Spots) -> Tensor:
    """Flat indices of the pixels' values in the images, for `take`: int64 (C, N), one row per channel."""
    channels, height, width = images.shape[1:]
    first = (spots.image * (channels * height) + spots.row) * width + spots.column
    return first + torch.arange(channels, device=first.device)[:, None] * (height * width)


def read(images: Tensor, spots: Spots) -> Tensor:
    """The pixels' values (N, C); each channel is contiguous in memory, which is faster than pixel by pixel."""
    return images.take(places(images, spots)).T


def crossings(images: Tensor, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values (K, C, M, N) of these images (K,) at every pair of rows (K, M) and columns (K, N)."""
    return images[image[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def sample(images: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values (N, C) at row y and column x (N,) of the given images (N,); the border is repeated outwards."""
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
