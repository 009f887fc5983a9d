"""Rotation: the object is rotated in front of the camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._draws import per_image, sign
from assay.corruptions._severity import level
from assay.corruptions._warp import places, read

DEGREES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Our choice: from an object in a fixture to one laid down by hand."""


def rotation(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] rotated about their centre, in either direction, reflected at the borders.

    Severity is the angle: 1, 2, 4, 8, 15 degrees.
    Raises InputError for any other severity.
    """
    angle = per_image(sign(images, random) * math.radians(level(severity, DEGREES)))[:, 0]
    rows, columns = places(images)
    sin, cos = angle.sin(), angle.cos()
    return read(images, rows * cos - columns * sin, rows * sin + columns * cos).clamp(0, 1)
