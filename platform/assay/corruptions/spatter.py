"""Spatter: drops of water or mud on the lens (Hendrycks & Dietterich 2019, extra)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._colour import colour
from assay.corruptions._fields import smooth
from assay.corruptions._severity import level, scale

WATER, MUD = (0.69, 0.93, 0.93), (0.25, 0.16, 0.08)
DROP = 4.0
"""Size of drops in pixels of an image of side 224; value of the paper at severity 1."""

SPATTER = ((1.9, 0.6, WATER), (1.1, 0.6, WATER), (0.7, 0.7, WATER), (0.0, 0.9, MUD), (-0.25, 0.95, MUD))
"""(level of a field of variance 1 above which there is liquid, its opacity, its colour).

The paper cuts a blurred field at a level; these levels cover about the same shares of the lens. Its glints on the water
are a lit slope here.
"""


def spatter(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] behind drops of water (severity 1 to 3) or mud (4 and 5).

    Severity is the share of the lens covered: about 3, 14, 24, 50, 60 %. Drops are in proportion to the side.
    Raises InputError for any other severity.
    """
    begins, opacity, liquid = level(severity, SPATTER)
    field = smooth(images, random, DROP * scale(images))
    drops = ((field - begins) / 0.4 + 0.5).clamp(0, 1)
    slope = field - field.roll((1, 1), (2, 3))
    shade = (colour(images, liquid) + 0.15 * slope).clamp(0, 1)
    return (images + opacity * drops * (shade - images)).clamp(0, 1)
