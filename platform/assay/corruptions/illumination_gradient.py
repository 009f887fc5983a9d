"""Illumination gradient: the lamp is on one side."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._draws import uniform
from assay.corruptions._fields import ramp
from assay.corruptions._severity import level

GRADIENT = (0.1, 0.2, 0.3, 0.45, 0.6)
"""Light gained in one corner and lost in the opposite one, as a share; our choice."""


def illumination_gradient(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] lit more strongly on one side than on the other, in a random direction.

    Severity is the share of the light gained on one side and lost on the other: 10, 20, 30, 45, 60 %.
    Raises InputError for any other severity.
    """
    light = 1 + level(severity, GRADIENT) * ramp(images, uniform(images, random, high=2 * math.pi))
    return (images * light).clamp(0, 1)
