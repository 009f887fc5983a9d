"""Brightness: too much light on the thing (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level

ADDED = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Added to the value of hue, saturation and value, in pixel scale; theirs."""


def brightness(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], brighter, hue and saturation as they were; nothing is random; raises InputError.

    Severity is what is added to the brightest channel of every pixel: 0.1, 0.2, 0.3, 0.4, 0.5.
    """
    value = images.amax(1, keepdim=True)
    brighter = (value + level(severity, ADDED)).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-12)), brighter).clamp(0, 1)
