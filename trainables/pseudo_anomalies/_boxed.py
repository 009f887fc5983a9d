"""A box of every image filled with a box of an image: as it is, recoloured, or mixed with what was there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._colour import Jitter
from trainables.pseudo_anomalies._processor import run, usable
from trainables.pseudo_anomalies._windows import Box, around, crossings


class There(NamedTuple):
    """A box per image to take from: in source[number], at top, left: int64 (B,). Its sides are another's."""

    source: Tensor
    number: Tensor
    top: Tensor
    left: Tensor


class Boxed(NamedTuple):
    """What goes into the box of every image: the box of the same sides there, recoloured, in [0, 1].

    share: how much of it is mixed with what is there, (B,).
    """

    box: Box
    there: There
    colour: Jitter
    share: Tensor

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        images, (box, there, colour, share), seen = made.images, self, torch.zeros_like(waiting)
        if usable(images, there.source):
            from trainables.pseudo_anomalies._box_kernel import paste_boxes

            run(paste_boxes, *made, seen, waiting, *self)
            return seen
        windows = around(images, box, waiting.nonzero()[:, 0])
        image, rows, columns, *_ = windows
        rows = (rows + (there.top - box.top)[image, None]).clamp(0, images.shape[-2] - 1)
        columns = (columns + (there.left - box.left)[image, None]).clamp(0, images.shape[-1] - 1)
        values = colour.of_windows(windows, crossings(there.source, there.number[image], rows, columns))
        mixed = windows.of(images).lerp(values, share[image, None, None, None])
        return seen.index_fill(0, windows.write(mixed, made), True)
