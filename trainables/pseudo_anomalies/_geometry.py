"""Boxes in every image, and moving pixels by index: all batched, nothing interpolated."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import per_pixel, uniform, whole


def pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel: int64 (1, H, 1) and (1, 1, W) on the images' device."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    return rows[None, :, None], columns[None, None, :]


def take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """images[b, :, rows[b, y, x], columns[b, y, x]] for every pixel; the indices broadcast to (B, H, W)."""
    batch, channels, height, width = images.shape
    index = (rows * width + columns).expand(batch, height, width).reshape(batch, 1, -1)
    return images.flatten(2).gather(2, index.expand(-1, channels, -1)).view_as(images)


def everywhere(images: Tensor) -> Tensor:
    """The mask (B, 1, H, W) of a change that spares no part of the image: all True."""
    return torch.ones_like(images[:, :1], dtype=torch.bool)


def box(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """The mask (B, 1, H, W) of one box per image, its corner and its sides in pixels (B,)."""
    rows, columns = pixels(images)
    down, right = rows - per_pixel(top), columns - per_pixel(left)
    inside = (down >= 0) & (down < per_pixel(height)) & (right >= 0) & (right < per_pixel(width))
    return inside[:, None]


def box_sides(images: Tensor, share: Tensor, aspect: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width in pixels (B,) of boxes of at most `share` of the image and about `aspect` = height / width.

    A box too long for the image is cut to it and widened, so that it keeps its area.
    """
    rows, columns = images.shape[-2:]
    area = share * rows * columns
    shortest = (area / columns).ceil().clamp(min=1)
    height = (area * aspect).sqrt().round().clamp(min=shortest, max=torch.full_like(area, rows))
    width = (area / height).floor().clamp(min=1)
    return height.long(), width.long()


def two_places(
    images: Tensor, generator: torch.Generator, height: Tensor, width: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Two different places (top, left) for a box of these sides, each uniform over where the box fits."""
    down = images.shape[-2] - height + 1
    right = images.shape[-1] - width + 1
    places = down * right
    first = whole(images, generator, places)
    second = (first + 1 + whole(images, generator, places - 1)) % places
    return (first // right, first % right), (second // right, second % right)


def one_place(images: Tensor, generator: torch.Generator, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """A place (top, left) for a box of these sides, uniform over where the box fits."""
    top = whole(images, generator, images.shape[-2] - height + 1)
    left = whole(images, generator, images.shape[-1] - width + 1)
    return top, left


def log_uniform(images: Tensor, generator: torch.Generator, low: float) -> Tensor:
    """One ratio per image in [low, 1 / low], its logarithm uniform."""
    return torch.tensor(low, device=images.device) ** uniform(images, generator, -1, 1)
