"""Zoom blur: the camera moved closer during the exposure (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level
from assay.corruptions._warp import places, read

ZOOM = ((0.01, 11), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11))
"""(step, count): zooms by 1, 1 + step, ..., averaged with the image; values of the paper."""


def zoom_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] averaged with copies enlarged about their centre; deterministic.

    Severity is the largest zoom: 1.1, 1.15, 1.2, 1.24, 1.3.
    Raises InputError for any other severity.
    """
    step, count = level(severity, ZOOM)
    rows, columns = places(images)
    zooms = [1 + step * index for index in range(count)]
    total = images + sum(read(images, rows / zoom, columns / zoom) for zoom in zooms)
    return (total / (count + 1)).clamp(0, 1)
