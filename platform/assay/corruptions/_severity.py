"""The five severities, and the image size to which lengths refer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from assay.errors import InputError

Level = TypeVar("Level")

SEVERITIES = (1, 2, 3, 4, 5)

REFERENCE = 224
"""Side in pixels of the images for which Hendrycks & Dietterich (2019) chose their lengths."""


def level(severity: int, levels: Sequence[Level]) -> Level:
    """The setting of a severity, out of five levels; raises InputError for a severity other than 1 to 5."""
    if severity not in SEVERITIES:
        raise InputError(f"unknown severity {severity!r} of a corruption; write a whole number from 1 to 5")
    return levels[severity - 1]


def scale(images: Tensor) -> float:
    """Pixels of these images (B, C, H, W) per pixel of an image of side 224, by their shorter side."""
    return min(images.shape[-2:]) / REFERENCE
