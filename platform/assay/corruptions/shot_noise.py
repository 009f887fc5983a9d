"""Shot noise: light comes in photons, and few of them are counted badly (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import poisson
from assay.corruptions._severity import level

PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
"""Photons that make white; theirs."""


def shot_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] whose every value is a Poisson count of photons; raises InputError.

    Severity is how many photons make white: 60, 25, 12, 5, 3.
    """
    photons = level(severity, PHOTONS)
    return (poisson(images * photons, random) / photons).clamp(0, 1)
