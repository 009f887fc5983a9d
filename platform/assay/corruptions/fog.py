"""Fog: a veil of varying thickness (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._fields import plasma
from assay.corruptions._severity import level

FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (3.5, 1.5), (5.0, 1.4))
"""(thickness, decay); values of the paper, except the last two thicknesses: its 2.5 and 3 do no more than severity 3.

The paper's plasma fractal loses the square of the decay from one scale to the next finer one, and so do our clouds.
"""


def fog(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] veiled in clouds, then darkened to their original brightness.

    Severity is the thickness of the fog, 1.5, 2, 2.5, 3.5, 5 in pixel scale, and increasingly uneven.
    Raises InputError for any other severity.
    """
    thickness, decay = level(severity, FOG)
    brightest = images.amax((1, 2, 3), keepdim=True)
    veiled = images + thickness * plasma(images, random, decay**2)
    return (veiled * brightest / (brightest + thickness)).clamp(0, 1)
