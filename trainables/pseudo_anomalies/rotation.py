"""Rotation by a quarter, a half or three quarters of a turn (Golan and El-Yaniv 2018; CSI, Tack et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.errors import InputError
from trainables.pseudo_anomalies._draws import whole
from trainables.pseudo_anomalies._whole import one_of


def rotation(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
    """Square images (B, C, H, H) in [0, 1], each rotated by 90, 180 or 270 degrees; the mask is all True.

    Only useful where normal images have a fixed orientation. Raises InputError for images that are not square.

    Looks like: the whole picture lying on its side or on its head.
    """
    height, width = images.shape[-2:]
    if height != width:
        raise InputError(
            f"rotation turns square images, these are {height} x {width}; "
            "set the dataset's image_size to one number, or choose another pseudo-anomaly"
        )
    quarters = [
        lambda some: some.rot90(1, (2, 3)),
        lambda some: some.rot90(2, (2, 3)),
        lambda some: some.rot90(3, (2, 3)),
    ]
    return one_of(images, whole(images, generator, 3), quarters)
