"""Saturate: colours too strong (Hendrycks & Dietterich 2019, extra)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level

SATURATION = ((1.4, 0.0), (2.0, 0.0), (3.0, 0.0), (5.0, 0.1), (20.0, 0.2))
"""(factor, offset). 2, 5 and 20 are the paper's, at severities 3 to 5.

The paper's first two, 0.3 and 0.1, reduce colour and change vivid images more than the others do. Here all five
increase it.
"""


def saturate(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with stronger colours; deterministic.

    Severity is the factor of the saturation, 1.4, 2, 3, 5, 20; the last two also add 0.1 and 0.2 to it. The hue and
    the brightest channel of a pixel are kept. Pixels without a hue, and so grey images, do not change.
    Raises InputError for any other severity.
    """
    factor, added = level(severity, SATURATION)
    value = images.amax(1, keepdim=True)
    saturation = (value - images.amin(1, keepdim=True)) / value.clamp(min=1e-12)
    stronger = (saturation * factor + added).clamp(max=1)
    # Without saturation, value - images is 0 and stays 0.
    return (value - (value - images) * stronger / saturation.clamp(min=1e-12)).clamp(0, 1)
