"""CutPerm: the halves of an image swapped, a 2 x 2 jigsaw (CSI, Tack et al. 2020, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._draws import per_pixel, whole
from trainables.pseudo_anomalies._geometry import everywhere, pixels, take


def cutperm(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1] with upper and lower, left and right, or both pairs of halves swapped.

    The mask is all True. Of an odd side the middle line moves with the second half.
    """
    height, width = images.shape[-2:]
    swap = 1 + whole(images, generator, 3)
    rows, columns = pixels(images)
    # Swapping two halves is a circular shift by half a side; bit 0 of `swap` is for rows, bit 1 for columns.
    source_rows = (rows + per_pixel((swap & 1) * (height // 2))) % height
    source_columns = (columns + per_pixel((swap >> 1) * (width // 2))) % width
    return PseudoAnomalies(take(images, source_rows, source_columns), everywhere(images))
