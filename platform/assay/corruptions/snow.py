"""Snow: flakes that fall between the camera and the thing (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, line
from assay.corruptions._colour import grey
from assay.corruptions._draws import uniform
from assay.corruptions._fields import smooth
from assay.corruptions._severity import level, scale

SNOW = (
    (0.1, 3.0, 0.5, 10.0, 4.0, 0.8),
    (0.15, 2.0, 0.5, 12.0, 4.0, 0.7),
    (0.55, 4.0, 0.9, 12.0, 8.0, 0.7),
    (0.55, 4.5, 0.85, 12.0, 8.0, 0.65),
    (0.55, 2.5, 0.85, 12.0, 12.0, 0.55),
)
"""(mean, flake, threshold, radius, sigma, kept); lengths in pixels of an image of side 224; theirs, but for
the mean of severity 2, whose 0.2 made more snow than severity 3.

Where a random field of that mean exceeds the threshold, there is a flake; it is smeared along its fall.
"""
DEVIATION = 0.2
"""Of the field: their 0.3, less what their enlarging of it takes away."""


def snow(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] whitened and strewn with falling flakes; raises InputError.

    Severity is the flakes' number, size and speed, and how much of the image is kept beside its whitened self: 80, 70,
    70, 65, 55 %. Lengths are in proportion to the side.
    """
    mean, flake, threshold, radius, sigma, kept = level(severity, SNOW)
    field = mean + DEVIATION * smooth(images, random, 0.4 * flake * scale(images))
    # Nothing below the threshold, all of the field a little above it: the last bit of a number decides on no flake.
    flakes = field.clamp(0, 1) * ((field - threshold) / 0.05).clamp(0, 1)
    angle = uniform(images, random, low=math.pi / 4, high=3 * math.pi / 4)
    falling = convolve(flakes, line(2 * radius * scale(images), angle, sigma * scale(images)))
    white = kept * images + (1 - kept) * torch.maximum(images, grey(images) * 1.5 + 0.5)
    return (white + falling + falling.flip(2, 3)).clamp(0, 1)
