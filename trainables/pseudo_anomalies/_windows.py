"""Boxes in images, and windows of one size around them to work on all at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._processor import run, usable
from trainables.pseudo_anomalies._visible import differ


class Box(NamedTuple):
    """A box per image, corner and sides in pixels: int64 (B,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Windows(NamedTuple):
    """Windows of one size in some of the images, each around the box of its own.

    image: which image each is in, int64 (K,). rows, columns: its lines in the image, int64 (K, M) and (K, N).
    in_rows, in_columns: True for those of them that are the box's.
    """

    image: Tensor
    rows: Tensor
    columns: Tensor
    in_rows: Tensor
    in_columns: Tensor

    @property
    def inside(self) -> Tensor:
        """True in the boxes, False around them: (K, 1, M, N)."""
        return self.in_rows[:, None, :, None] & self.in_columns[:, None, None, :]

    def of(self, images: Tensor) -> Tensor:
        """What the images (B, C, H, W) show in the windows: (K, C, M, N)."""
        return crossings(images, self.image, self.rows, self.columns)

    def write(self, values: Tensor, made: PseudoAnomalies) -> Tensor:
        """Values (K, C, M, N) go into the boxes where that would be seen; of which images (K,) it was."""
        here = self.of(made.images)
        changed = torch.where(self.inside, values, here)
        seen = differ(changed, here)
        image, rows, columns, inside = (part[seen] for part in (self.image, self.rows, self.columns, self.inside))
        at = image[:, None, None], rows[:, :, None], columns[:, None]
        made.images[at[0], :, at[1], at[2]] = changed[seen].permute(0, 2, 3, 1)
        made.mask[at[0], 0, at[1], at[2]] |= inside[:, 0]
        return self.image[seen]


def crossings(images: Tensor, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values (K, C, M, N) of these images (K,) at every pair of rows (K, M) and columns (K, N)."""
    if usable(images):
        from trainables.pseudo_anomalies._crossings_kernel import read_crossings

        values = images.new_empty((len(image), images.shape[1], rows.shape[1], columns.shape[1]))
        run(read_crossings, values, images, image, rows, columns)
        return values
    return images[image[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def around(images: Tensor, box: Box, image: Tensor, rim: int = 0) -> Windows:
    """Windows around the boxes of these images (K,), `rim` pixels wider on every side, which must lie in them, too."""
    (rows, in_rows), (columns, in_columns) = (
        _along(first[image], side[image], length, rim)
        for first, side, length in (
            (box.top, box.height, images.shape[-2]),
            (box.left, box.width, images.shape[-1]),
        )
    )
    return Windows(image, rows, columns, in_rows, in_columns)


def _along(first: Tensor, side: Tensor, length: int, rim: int) -> tuple[Tensor, Tensor]:
    """Along one axis: the windows' lines (K, M), and which of them are the boxes'."""
    longest = int(side.amax()) + 2 * rim
    start = (first - rim).clamp(max=length - longest)
    lines = start[:, None] + torch.arange(longest, device=first.device)
    return lines, (lines >= first[:, None]) & (lines < (first + side)[:, None])
