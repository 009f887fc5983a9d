"""Snow: flakes falling between the camera and the object (Hendrycks & Dietterich 2019, section 3)."""

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
"""(mean, flake, threshold, radius, sigma, kept); lengths in pixels of an image of side 224; values of the paper, except
the mean of severity 2, whose 0.2 made more snow than severity 3.

A flake is where a random field of that mean exceeds the threshold; it is smeared along its fall.
"""
DEVIATION = 0.2
"""Standard deviation of the field: the paper's 0.3, less what is lost when the paper enlarges the field."""


def snow(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] whitened and covered with falling flakes.

    Severity is the number, size and speed of the flakes, and the share of the image kept when it is whitened: 80, 70,
    70, 65, 55 %. Lengths are in proportion to the side.
    Raises InputError for any other severity.
    """
    mean, flake, threshold, radius, sigma, kept = level(severity, SNOW)
    field = mean + DEVIATION * smooth(images, random, 0.4 * flake * scale(images))
    # 0 below the threshold and continuous above it, so that rounding never decides on a whole flake.
    flakes = field.clamp(0, 1) * ((field - threshold) / 0.05).clamp(0, 1)
    angle = uniform(images, random, low=math.pi / 4, high=3 * math.pi / 4)
    falling = convolve(flakes, line(2 * radius * scale(images), angle, sigma * scale(images)))
    white = kept * images + (1 - kept) * torch.maximum(images, grey(images) * 1.5 + 0.5)
    return (white + falling + falling.flip(2, 3)).clamp(0, 1)
