"""Motion blur: the camera moved during the exposure (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, line
from assay.corruptions._draws import uniform
from assay.corruptions._severity import level, scale

MOVEMENT = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))
"""(radius, sigma) in pixels of an image of side 224; values of the paper. Its trail starts at the pixel; ours is
centred on it."""


def motion_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] smeared along a line at up to 45 degrees to the rows.

    Severity is the length of the line, which fades towards its ends: radius 10, 15, 15, 15, 20 and sigma 3, 5, 8, 12,
    15 pixels in an image of side 224, scaled in proportion for other sides.
    Raises InputError for any other severity.
    """
    radius, sigma = (length * scale(images) for length in level(severity, MOVEMENT))
    angle = uniform(images, random, low=-math.pi / 4, high=math.pi / 4)
    return convolve(images, line(2 * radius, angle, sigma)).clamp(0, 1)
