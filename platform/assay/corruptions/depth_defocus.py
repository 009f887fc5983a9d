"""Depth defocus: of a tilted or deep thing, one side is in focus and the other is not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, disk
from assay.corruptions._draws import uniform
from assay.corruptions._fields import ramp
from assay.corruptions._severity import level, scale

RADIUS = (4.0, 6.0, 9.0, 12.0, 16.0)
"""Of the disk at the far side, in pixels of an image of side 224; ours, about half as much again as defocus_blur's."""

STEPS = 6


def depth_defocus(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], sharp on one side, ever more out of focus towards the other; raises InputError.

    Severity is the radius of the disk that blurs the far side: 4, 6, 9, 12, 16 pixels of an image of side 224, in
    proportion for other sides. The direction is random. The radius grows with the distance, as with a thin lens over a
    short depth.
    """
    radius = level(severity, RADIUS) * scale(images)
    depth = (ramp(images, uniform(images, random, high=2 * math.pi)) + 1) / 2 * STEPS
    result = torch.zeros_like(images)
    for step in range(STEPS + 1):
        share = (1 - (depth - step).abs()).clamp(min=0)  # between two steps both count
        result += share * (convolve(images, disk(radius * step / STEPS)) if step else images)
    return result.clamp(0, 1)
