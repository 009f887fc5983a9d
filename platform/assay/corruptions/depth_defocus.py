"""Depth defocus: one side of a tilted or deep object is in focus, the other is not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, disk
from assay.corruptions._draws import uniform
from assay.corruptions._fields import ramp
from assay.corruptions._severity import level, scale

RADIUS = (4.0, 6.0, 9.0, 12.0, 16.0)
"""Disk radius at the far side, in pixels of an image of side 224; our choice, about 1.5 times that of defocus_blur."""

STEPS = 6


def depth_defocus(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], sharp on one side and increasingly out of focus towards the other.

    Severity is the radius of the disk that blurs the far side: 4, 6, 9, 12, 16 pixels in an image of side 224, scaled
    in proportion for other sides. The direction is random. The radius grows linearly with the distance, as for a thin
    lens over a small range of depth.
    Raises InputError for any other severity.
    """
    radius = level(severity, RADIUS) * scale(images)
    depth = (ramp(images, uniform(images, random, high=2 * math.pi)) + 1) / 2 * STEPS
    result = torch.zeros_like(images)
    for step in range(STEPS + 1):
        share = (1 - (depth - step).abs()).clamp(min=0)  # interpolate between two steps
        result += share * (convolve(images, disk(radius * step / STEPS)) if step else images)
    return result.clamp(0, 1)
