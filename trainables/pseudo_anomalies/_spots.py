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
    areas = height * width
    image = torch.arange(len(areas), device=areas.device).repeat_interleave(areas)
    within = torch.arange(len(image), device=areas.device) - (areas.cumsum(0) - areas).index_select(0, image)
    across = width.index_select(0, image)
    row = within // across
    column = within - row * across
    return Spots(image, row + top.index_select(0, image), column + left.index_select(0, image))


def read(images: Tensor, spots: Spots) -> Tensor:
    """The pixels' values (N, C)."""
    return images[spots.image, :, spots.row, spots.column]


def sample(images: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values (N, C) between pixels, bilinear: at row y and column x (N,) of the given images; the border repeats."""
    height, width = images.shape[-2:]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = (y - top).to(images.dtype)[:, None], (x - left).to(images.dtype)[:, None]
    upper = torch.lerp(read(images, Spots(image, top, left)), read(images, Spots(image, top, right)), across)
    lower = torch.lerp(read(images, Spots(image, bottom, left)), read(images, Spots(image, bottom, right)), across)
    return torch.lerp(upper, lower, down)


def windows(images: Tensor, image: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Windows (K, C, height, width) of the given images (K,) from (top, left) on; beyond the border it repeats."""
    rows = (top[:, None] + torch.arange(height, device=images.device)).clamp(0, images.shape[-2] - 1)
    columns = (left[:, None] + torch.arange(width, device=images.device)).clamp(0, images.shape[-1] - 1)
    return images[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
