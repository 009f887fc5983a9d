"""Rotation by a quarter, a half or three quarters of a turn (Golan and El-Yaniv 2018; CSI, Tack et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.errors import InputError
from trainables.pseudo_anomalies._draws import whole
from trainables.pseudo_anomalies._geometry import everywhere


def rotation(images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
    """Square images (B, C, H, H) in [0, 1], each turned by 90, 180 or 270 degrees; the mask is all True.

    Sensible only where the orientation of a normal image is fixed. Raises InputError for images that are not square.
    """
    height, width = images.shape[-2:]
    if height != width:
        raise InputError(
            f"rotation turns square images, these are {height} x {width}; "
            "set the dataset's image_size to one number, or choose another pseudo-anomaly"
        )
    turned = torch.stack([images.rot90(k, (2, 3)) for k in (1, 2, 3)])
    chosen = turned[whole(images, generator, 3), torch.arange(len(images), device=images.device)]
    return PseudoAnomalies(chosen, everywhere(images))
