"""Speckle noise, which grows with the signal, as in radar and ultrasound (Hendrycks & Dietterich 2019, extra)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import normal
from assay.corruptions._severity import level

SIGMA = (0.15, 0.2, 0.35, 0.45, 0.6)
"""Standard deviation as a share of the value; values of the paper."""


def speckle_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], each value multiplied by 1 plus a normal number.

    Severity is its standard deviation: 0.15, 0.2, 0.35, 0.45, 0.6.
    Raises InputError for any other severity.
    """
    return (images * (1 + level(severity, SIGMA) * normal(images, random, *images.shape[1:]))).clamp(0, 1)
