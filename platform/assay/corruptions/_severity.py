"""The five severities, and the size that lengths are given at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from assay.errors import InputError

Level = TypeVar("Level")

SEVERITIES = (1, 2, 3, 4, 5)

REFERENCE = 224
"""The side in pixels of the images that Hendrycks & Dietterich (2019) chose their lengths for."""


def level(severity: int, levels: Sequence[Level]) -> Level:
    """What belongs to a severity, of five levels; raises InputError for a severity other than 1 to 5."""
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity!r} of a corruption is not known; write a whole number from 1 to 5")
    return levels[severity - 1]


def scale(images: Tensor) -> float:
    """Pixels of these images (B, C, H, W) for one pixel of an image of side 224; the shorter side counts."""
    return min(images.shape[-2:]) / REFERENCE
