"""Shift: the object is off its position in front of the camera."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._draws import sign
from assay.corruptions._severity import level
from assay.corruptions._warp import places, read

SHARE = (0.02, 0.04, 0.06, 0.09, 0.13)
"""As a share of the shorter side; our choice."""


def shift(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] shifted by whole pixels along both axes, reflected at the borders.

    Severity is the shift along each axis, in either direction: 2, 4, 6, 9, 13 % of the shorter side, but at least
    1, 2, 3, 4, 5 pixels.
    Raises InputError for any other severity.
    """
    pixels = max(severity, round(level(severity, SHARE) * min(images.shape[-2:])))
    down, right = (sign(images, random, 2) * pixels).unbind(1)
    rows, columns = places(images)
    return read(images, rows - down[:, None, None], columns - right[:, None, None]).clamp(0, 1)
