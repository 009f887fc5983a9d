"""Impulse noise, salt and pepper: bit errors and dead pixels (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import uniform
from assay.corruptions._severity import level

SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)
"""Share of the values that are lost; theirs."""


def impulse_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with some values, of each channel by itself, set to 0 or to 1; raises InputError.

    Severity is the share of values: 3, 6, 9, 17, 27 %.
    """
    share = level(severity, SHARE)
    draw = uniform(images, random, *images.shape[1:])
    return images.masked_fill(draw < share, 1.0).masked_fill(draw < share / 2, 0.0)
