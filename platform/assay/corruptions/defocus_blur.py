"""Defocus blur: a lens out of focus makes a disk of every point (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, disk
from assay.corruptions._severity import level, scale

RADIUS = (3.0, 4.0, 6.0, 8.0, 10.0)
"""In pixels of an image of side 224; theirs. Their smoothing of the disk's rim is left out: ours has no steps."""


def defocus_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] blurred with a disk; nothing is random; raises InputError.

    Severity is its radius: 3, 4, 6, 8, 10 pixels of an image of side 224, in proportion for other sides.
    """
    return convolve(images, disk(level(severity, RADIUS) * scale(images))).clamp(0, 1)
