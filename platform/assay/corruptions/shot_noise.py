"""Shot noise: light arrives as photons, and small counts vary strongly (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import poisson
from assay.corruptions._severity import level

PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
"""Photons at white; values of the paper."""


def shot_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with every value replaced by a Poisson count of photons.

    Severity is the number of photons at white: 60, 25, 12, 5, 3.
    Raises InputError for any other severity.
    """
    photons = level(severity, PHOTONS)
    return (poisson(images * photons, random) / photons).clamp(0, 1)
