"""CutPerm: the halves of an image swapped, a 2 x 2 jigsaw (CSI, Tack et al. 2020, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._draws import whole
from trainables.pseudo_anomalies._whole import one_of


def cutperm(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1] whose upper and lower, left and right, or both pairs of halves are swapped.

    The mask is all True. If a side is odd, its middle line moves with the second half.

    Looks like: the picture cut in halves or quarters and put together the wrong way round.
    """
    # Swapping two halves is a circular shift by half a side.
    down, right = -(images.shape[-2] // 2), -(images.shape[-1] // 2)
    layouts = [
        lambda some: some.roll(down, 2),
        lambda some: some.roll(right, 3),
        lambda some: some.roll((down, right), (2, 3)),
    ]
    return one_of(images, whole(images, generator, 3), layouts)
