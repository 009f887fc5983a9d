"""Vignetting: a lens gives less light to the corners (the law of the fourth power of the cosine)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level
from assay.corruptions._warp import places

CORNER = (0.85, 0.7, 0.55, 0.4, 0.25)
"""Share of the light that is left in the corners; ours."""


def vignetting(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], darker towards the corners; nothing is random; raises InputError.

    Severity is the share of the light left in the corners: 85, 70, 55, 40, 25 %.
    """
    rows, columns = places(images)
    squared = rows**2 + columns**2
    # cos^4 of the angle of view is (1 + tan^2)^-2, and the tangent grows with the distance from the middle.
    corner = level(severity, CORNER) ** -0.5 - 1
    light: Tensor = (1 + corner * squared / squared.max()) ** -2
    return images * light[:, None]
