"""Gaussian noise, as from a sensor in low light (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import normal
from assay.corruptions._severity import level

SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Standard deviation in pixel scale; values of the paper."""


def gaussian_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with independent normal noise added to every value.

    Severity is its standard deviation: 0.08, 0.12, 0.18, 0.26, 0.38.
    Raises InputError for any other severity.
    """
    return (images + level(severity, SIGMA) * normal(images, random, *images.shape[1:])).clamp(0, 1)
