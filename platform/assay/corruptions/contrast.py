"""Contrast: too little contrast (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level

KEPT = (0.4, 0.3, 0.2, 0.1, 0.05)
"""Share of the contrast that remains; values of the paper."""


def contrast(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], each channel shrunk towards its mean; deterministic.

    Severity is the share of the contrast that remains: 40, 30, 20, 10, 5 %.
    Raises InputError for any other severity.
    """
    mean = images.mean((2, 3), keepdim=True)
    return (mean + level(severity, KEPT) * (images - mean)).clamp(0, 1)
