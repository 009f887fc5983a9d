"""Sides and places of upright boxes, and the pixels inside of rotated ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._spots import Spots, lines


def pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel: int64 (1, H, 1) and (1, 1, W) on the images' device."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    return rows[None, :, None], columns[None, None, :]


def box_sides(images: Tensor, share: Tensor, aspect: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width in pixels (B,) of boxes that cover at most `share` of the image; aspect is height / width.

    A box too long for the image is shortened to fit and widened to keep its area.
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
    """Two different places (top, left) for a box of these sides, each uniform over all places where it fits."""
    down = images.shape[-2] - height + 1
    right = images.shape[-1] - width + 1
    places = down * right
    first = whole(images, generator, places)
    second = (first + 1 + whole(images, generator, places - 1)) % places
    return (first // right, first % right), (second // right, second % right)


def one_place(images: Tensor, generator: torch.Generator, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """A place (top, left) for a box of these sides, uniform over all places where it fits."""
    top = whole(images, generator, images.shape[-2] - height + 1)
    left = whole(images, generator, images.shape[-1] - width + 1)
    return top, left


def middle(images: Tensor, generator: torch.Generator, reach: Tensor, side: int) -> Tensor:
    """A uniformly random centre, along a side of this many pixels, for something that extends `reach` either way."""
    return reach + (side - 1 - 2 * reach).clamp(min=0) * uniform(images, generator)


def reaches(along: Tensor, across: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """How far a box rotated by `angle` extends from its centre, vertically and horizontally; half sides (B,)."""
    cos, sin = angle.cos().abs(), angle.sin().abs()
    return along * cos + across * sin, along * sin + across * cos


LEAST = 1e-6
"""Replaces a sine or cosine closer to 0 than this before it divides."""


class Turned(NamedTuple):
    """One rotated box per image: its centre, half sides and angle, all (B,)."""

    y: Tensor
    x: Tensor
    along: Tensor
    across: Tensor
    angle: Tensor

    def upright(self, image: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """The position of each pixel relative to the centre of its box, along the axes of the box: two (N,)."""
        down, right = row - self.y[image], column - self.x[image]
        cos, sin = self.angle.cos()[image], self.angle.sin()[image]
        return down * cos - right * sin, down * sin + right * cos

    def inside(self, image: Tensor, up: Tensor, right: Tensor) -> Tensor:
        """Whether a position relative to the centre, from `upright`, is inside the box: bool (N,)."""
        return (up.abs() <= self.along[image]) & (right.abs() <= self.across[image])

    def spots(self, images: Tensor, wanted: Tensor) -> Spots:
        """The pixels whose centres are inside the box, of the images that are wanted, bool (B,)."""
        height, width = images.shape[-2:]
        reach, _ = reaches(self.along, self.across, self.angle)
        top = (self.y - reach).floor().long().clamp(0, height - 1)
        tall = (self.y + reach).ceil().long().clamp(0, height - 1) - top + 1
        tall = tall.where(wanted, 0)
        # Work on rows, of which there are far fewer than pixels.
        image = torch.arange(len(tall), device=tall.device).repeat_interleave(tall)
        row = top[image] + torch.arange(len(image), device=tall.device) - (tall.cumsum(0) - tall)[image]
        # Each pair of sides bounds an interval of the row; a pair parallel to the row leaves all of it or nothing.
        cos, sin = self.angle.cos(), self.angle.sin()
        cos, sin = (torch.where(part.abs() < LEAST, LEAST, part)[image] for part in (cos, sin))
        down, along, across = row - self.y[image], self.along[image], self.across[image]
        first = (down * cos - along) / sin, (down * cos + along) / sin
        second = (-across - down * sin) / cos, (across - down * sin) / cos
        left = torch.maximum(torch.minimum(*first), torch.minimum(*second)) + self.x[image]
        right = torch.minimum(torch.maximum(*first), torch.maximum(*second)) + self.x[image]
        left, right = left.ceil().clamp(0, width).long(), right.floor().clamp(-1, width - 1).long()
        return lines(image, row, left, (right - left + 1).clamp(min=0))
