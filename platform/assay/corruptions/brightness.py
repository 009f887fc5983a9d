"""Brightness: too much light on the object (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level

ADDED = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Added to V in HSV, in pixel scale; values of the paper."""


def brightness(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], made brighter with hue and saturation unchanged; deterministic.

    Severity is the amount added to the brightest channel of every pixel: 0.1, 0.2, 0.3, 0.4, 0.5.
    Raises InputError for any other severity.
    """
    value = images.amax(1, keepdim=True)
    brighter = (value + level(severity, ADDED)).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-12)), brighter).clamp(0, 1)
