"""Defocus blur: an out-of-focus lens turns every point into a disk (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, disk
from assay.corruptions._severity import level, scale

RADIUS = (3.0, 4.0, 6.0, 8.0, 10.0)
"""In pixels of an image of side 224; values of the paper. Its smoothing of the disk's rim is not needed here."""


def defocus_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] blurred with a disk; deterministic.

    Severity is its radius: 3, 4, 6, 8, 10 pixels in an image of side 224, scaled in proportion for other sides.
    Raises InputError for any other severity.
    """
    return convolve(images, disk(level(severity, RADIUS) * scale(images))).clamp(0, 1)
