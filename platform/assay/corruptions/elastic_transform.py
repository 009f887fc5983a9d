"""Elastic transform: local stretching and squeezing (Hendrycks & Dietterich 2019, section 3; Simard et al. 2003)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._fields import smooth
from assay.corruptions._severity import level
from assay.corruptions._warp import places, read

MOVED = (0.004, 0.007, 0.011, 0.016, 0.022)
"""Root mean square of the displacement along each axis, as a share of the shorter side.

Not the paper's: its first two severities are mostly affine and move pixels further than its last.
"""
SIGMA = 0.03
"""Length over which the displacement varies, as a share of the side; 0.01 or more in the paper."""


def elastic_transform(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] whose pixels are displaced by a smooth random field.

    Severity is the displacement: 0.4, 0.7, 1.1, 1.6, 2.2 % of the shorter side along each axis (root mean square).
    Raises InputError for any other severity.
    """
    rows, columns = places(images)
    side = min(images.shape[-2:])
    moved = level(severity, MOVED) * side
    down, right = (moved * smooth(images, random, SIGMA * side)[:, 0] for _ in range(2))
    return read(images, rows + down, columns + right).clamp(0, 1)
