"""Fog: a veil of uneven thickness (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._fields import plasma
from assay.corruptions._severity import level

FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (3.5, 1.5), (5.0, 1.4))
"""(thickness, decay); theirs, but for the last two thicknesses, whose 2.5 and 3 do no more than severity 3.

From one scale to the next finer one, their plasma fractal loses the decay's square; so do our clouds.
"""


def fog(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] veiled in clouds, then darkened to the brightness they had; raises InputError.

    Severity is the thickness of the fog, 1.5, 2, 2.5, 3.5, 5 in pixel scale, ever more uneven.
    """
    thickness, decay = level(severity, FOG)
    brightest = images.amax((1, 2, 3), keepdim=True)
    veiled = images + thickness * plasma(images, random, decay**2)
    return (veiled * brightest / (brightest + thickness)).clamp(0, 1)
