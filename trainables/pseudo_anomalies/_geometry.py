"""Boxes in every image, upright and turned: sides, places and the pixels inside."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._spots import Spots, boxes


def pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel: int64 (1, H, 1) and (1, 1, W) on the images' device."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    return rows[None, :, None], columns[None, None, :]


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


def middle(images: Tensor, generator: torch.Generator, reach: Tensor, side: int) -> Tensor:
    """Where along a side of so many pixels the middle of a thing may lie that reaches this far both ways, uniform."""
    return reach + (side - 1 - 2 * reach).clamp(min=0) * uniform(images, generator)


def reaches(along: Tensor, across: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """How far up and down, left and right, a box turned by `angle` reaches from its middle; half sides (B,)."""
    cos, sin = angle.cos().abs(), angle.sin().abs()
    return along * cos + across * sin, along * sin + across * cos


class Turned(NamedTuple):
    """One turned box per image, by its middle, its half sides and its angle: all (B,)."""

    y: Tensor
    x: Tensor
    along: Tensor
    across: Tensor
    angle: Tensor

    def upright(self, image: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """How far up and right (N,) of its box's middle a pixel lies, in the box's own directions."""
        down, right = row - self.y[image], column - self.x[image]
        cos, sin = self.angle.cos()[image], self.angle.sin()[image]
        return down * cos - right * sin, down * sin + right * cos

    def inside(self, image: Tensor, up: Tensor, right: Tensor) -> Tensor:
        """Whether what lies so far from the middle is inside the box: bool (N,)."""
        return (up.abs() <= self.along[image]) & (right.abs() <= self.across[image])

    def spots(self, images: Tensor) -> Spots:
        """The pixels of the images whose centres are inside."""
        last_row, last_column = images.shape[-2] - 1, images.shape[-1] - 1
        reach_y, reach_x = reaches(self.along, self.across, self.angle)
        top = (self.y - reach_y).floor().long().clamp(0, last_row)
        left = (self.x - reach_x).floor().long().clamp(0, last_column)
        bottom = (self.y + reach_y).ceil().long().clamp(0, last_row)
        right = (self.x + reach_x).ceil().long().clamp(0, last_column)
        spots = boxes(top, left, bottom - top + 1, right - left + 1)
        return spots.where(self.inside(spots.image, *self.upright(*spots)))
