"""Gaussian blur, the plain lack of sharpness (Hendrycks & Dietterich 2019, extra)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import blurred
from assay.corruptions._severity import level, scale

SIGMA = (1.0, 2.0, 3.0, 4.0, 6.0)
"""In pixels of an image of side 224; theirs."""


def gaussian_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] after a Gaussian blur; nothing is random; raises InputError.

    Severity is its sigma: 1, 2, 3, 4, 6 pixels of an image of side 224, in proportion for other sides.
    """
    return blurred(images, level(severity, SIGMA) * scale(images)).clamp(0, 1)
