"""Conveyor blur: the object moved along the rows while the shutter was open."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, line
from assay.corruptions._severity import level

LENGTH = (0.02, 0.04, 0.06, 0.09, 0.13)
"""Distance moved during the exposure, as a share of the image's shorter side; our choice."""


def conveyor_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] smeared evenly along their rows; deterministic.

    Severity is the distance moved during the exposure: 2, 4, 6, 9, 13 % of the shorter side.
    Raises InputError for any other severity.
    """
    length = level(severity, LENGTH) * min(images.shape[-2:])
    return convolve(images, line(length, images.new_zeros(1))).clamp(0, 1)
