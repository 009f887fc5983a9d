"""Vignetting: a lens lets less light into the corners (cosine-fourth law)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level
from assay.corruptions._warp import places

CORNER = (0.85, 0.7, 0.55, 0.4, 0.25)
"""Share of the light that remains in the corners; our choice."""


def vignetting(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], darker towards the corners; deterministic.

    Severity is the share of the light that remains in the corners: 85, 70, 55, 40, 25 %.
    Raises InputError for any other severity.
    """
    rows, columns = places(images)
    squared = rows**2 + columns**2
    # cos^4 of the view angle is (1 + tan^2)^-2, and the tangent is proportional to the distance from the centre.
    corner = level(severity, CORNER) ** -0.5 - 1
    light: Tensor = (1 + corner * squared / squared.max()) ** -2
    return images * light[:, None]
