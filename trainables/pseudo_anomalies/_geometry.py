"""Boxes in every image, upright and turned: sides, places and the pixels inside."""

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


LEAST = 1e-6
"""In place of a sine or cosine nearer to 0, to divide by."""


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

    def spots(self, images: Tensor, wanted: Tensor) -> Spots:
        """The pixels of the wanted ones (B,) of the images whose centres are inside."""
        height, width = images.shape[-2:]
        reach, _ = reaches(self.along, self.across, self.angle)
        top = (self.y - reach).floor().long().clamp(0, height - 1)
        tall = (self.y + reach).ceil().long().clamp(0, height - 1) - top + 1
        tall = tall.where(wanted, 0)
        # Row by row, for there are far fewer rows than pixels.
        image = torch.arange(len(tall), device=tall.device).repeat_interleave(tall)
        row = top[image] + torch.arange(len(image), device=tall.device) - (tall.cumsum(0) - tall)[image]
        # Both pairs of sides leave a stretch of the row between them; a pair along the rows leaves all or nothing.
        cos, sin = self.angle.cos(), self.angle.sin()
        cos, sin = (torch.where(part.abs() < LEAST, LEAST, part)[image] for part in (cos, sin))
        down, along, across = row - self.y[image], self.along[image], self.across[image]
        first = (down * cos - along) / sin, (down * cos + along) / sin
        second = (-across - down * sin) / cos, (across - down * sin) / cos
        left = torch.maximum(torch.minimum(*first), torch.minimum(*second)) + self.x[image]
        right = torch.minimum(torch.maximum(*first), torch.maximum(*second)) + self.x[image]
        left, right = left.ceil().clamp(0, width).long(), right.floor().clamp(-1, width - 1).long()
        return lines(image, row, left, (right - left + 1).clamp(min=0))
