"""Gaussian blur: a general lack of sharpness (Hendrycks & Dietterich 2019, extra)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import blurred
from assay.corruptions._severity import level, scale

SIGMA = (1.0, 2.0, 3.0, 4.0, 6.0)
"""In pixels of an image of side 224; values of the paper."""


def gaussian_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] after a Gaussian blur; deterministic.

    Severity is its sigma: 1, 2, 3, 4, 6 pixels in an image of side 224, scaled in proportion for other sides.
    Raises InputError for any other severity.
    """
    return blurred(images, level(severity, SIGMA) * scale(images)).clamp(0, 1)
