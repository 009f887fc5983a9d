"""Impulse (salt and pepper) noise: bit errors and dead pixels (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import uniform
from assay.corruptions._severity import level

SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)
"""Share of the values replaced; values of the paper."""


def impulse_noise(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with some values, independently per channel, set to 0 or 1.

    Severity is the share of values replaced: 3, 6, 9, 17, 27 %.
    Raises InputError for any other severity.
    """
    share = level(severity, SHARE)
    draw = uniform(images, random, *images.shape[1:])
    return images.masked_fill(draw < share, 1.0).masked_fill(draw < share / 2, 0.0)
