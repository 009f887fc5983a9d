"""Motion blur: the camera moved while it looked (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, line
from assay.corruptions._draws import uniform
from assay.corruptions._severity import level, scale

MOVEMENT = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))
"""(radius, sigma) in pixels of an image of side 224; theirs. Their trail begins at the pixel; ours lies around it."""


def motion_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] smeared along a line at up to 45 degrees to the rows; raises InputError.

    Severity is the line, which fades to its ends: radius 10, 15, 15, 15, 20 and sigma 3, 5, 8, 12, 15 pixels of an
    image of side 224, in proportion for other sides.
    """
    radius, sigma = (length * scale(images) for length in level(severity, MOVEMENT))
    angle = uniform(images, random, low=-math.pi / 4, high=math.pi / 4)
    return convolve(images, line(2 * radius, angle, sigma)).clamp(0, 1)
