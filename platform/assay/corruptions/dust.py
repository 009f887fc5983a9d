"""Dust: out-of-focus grains on the lens or on the glass over the sensor."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import blurred, convolve, disk
from assay.corruptions._draws import uniform
from assay.corruptions._severity import level

GRAINS = (6.0, 14.0, 28.0, 50.0, 80.0)
"""Expected number of grains per image, all sizes together; our choice."""

SIZES = ((0.01, 0.7), (0.016, 0.5), (0.028, 0.35))
"""(radius as a share of the shorter side, share of light absorbed): larger means further out of focus and fainter."""


def dust(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with dark grains with a radius of 1, 1.6 or 2.8 % of the shorter side.

    Severity is their expected number: 6, 14, 28, 50, 80. With the same generator, higher severities only add grains.
    Raises InputError for any other severity.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    density = level(severity, GRAINS) / (height * width * len(SIZES))
    light = torch.ones_like(images[:, :1])
    for size, shadow in SIZES:
        radius = max(0.7, size * side)  # smaller grains could fall between pixels
        grain = disk(radius)
        grains = (uniform(images, random, 1, height, width) < density).to(images)
        soft = blurred(convolve(grains, grain / grain.max()), radius / 3)
        light = light * (1 - shadow * soft.clamp(0, 1))
    return images * light
