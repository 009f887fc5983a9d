"""Boxes: one upright rectangle per image, filled with new values where the change is visible."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._colour import Jitter
from trainables.pseudo_anomalies._visible import differ


class Box(NamedTuple):
    """One box per image, its top left corner and its sides in pixels: int64 (B,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Source(NamedTuple):
    """Where each box gets its values: images[number] from (top, left) on, int64 (B,); the sides are the box's."""

    images: Tensor
    number: Tensor
    top: Tensor
    left: Tensor


class Boxed(NamedTuple):
    """A change that fills a box of every image with a recoloured box of the same sides.

    share: weight of the new values against the old ones, in [0, 1], (B,).
    """

    box: Box
    source: Source
    colour: Jitter
    share: Tensor

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        images, *at = self.source
        places = torch.stack(at, 1).tolist()

        def values(b: int, rows: slice, columns: slice) -> Tensor:
            number, top, left = places[b]
            height, width = rows.stop - rows.start, columns.stop - columns.start
            patch = self.colour.of_box(b, images[number, :, top : top + height, left : left + width])
            return made.images[b, :, rows, columns].lerp(patch, self.share[b])

        return fill(made, waiting, self.box, values)


def fill(made: PseudoAnomalies, waiting: Tensor, box: Box, values: Callable[[int, slice, slice], Tensor]) -> Tensor:
    """Write values(image number, rows, columns), each (C, M, N), into the boxes of the waiting images (B,).

    An image that would look the same stays as it is. Returns which images were changed: bool (B,). The boxes differ in
    size, so each image is handled alone: working on slices beats padding every box to the largest.
    """
    seen = torch.zeros_like(waiting)
    numbers = waiting.nonzero()[:, 0]
    corners = torch.stack(box, 1)[numbers].tolist()
    for b, (top, left, height, width) in zip(numbers.tolist(), corners, strict=True):
        rows, columns = slice(top, top + height), slice(left, left + width)
        new = values(b, rows, columns)
        if differ(new[None], made.images[b : b + 1, :, rows, columns]):
            made.images[b, :, rows, columns] = new
            made.mask[b, 0, rows, columns] = True
            seen[b] = True
    return seen
