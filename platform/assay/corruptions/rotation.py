"""Rotation: the thing lies askew before the camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._draws import per_image, sign
from assay.corruptions._severity import level
from assay.corruptions._warp import places, read

DEGREES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Ours: a thing in a fixture, a thing laid down by hand."""


def rotation(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] turned about the middle, either way, reflected at the borders; raises InputError.

    Severity is the angle: 1, 2, 4, 8, 15 degrees.
    """
    angle = per_image(sign(images, random) * math.radians(level(severity, DEGREES)))[:, 0]
    rows, columns = places(images)
    sin, cos = angle.sin(), angle.cos()
    return read(images, rows * cos - columns * sin, rows * sin + columns * cos).clamp(0, 1)
