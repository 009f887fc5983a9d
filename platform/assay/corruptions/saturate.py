"""Saturate: colours too strong (Hendrycks & Dietterich 2019, extra)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._severity import level

SATURATION = ((1.4, 0.0), (2.0, 0.0), (3.0, 0.0), (5.0, 0.1), (20.0, 0.2))
"""(factor, added). 2, 5 and 20 are theirs, at severities 3 to 5.

Their first two, 0.3 and 0.1, take colour away: on vivid images they do more than the others. Here all five add.
"""


def saturate(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with stronger colours; grey stays grey; nothing is random; raises InputError.

    Severity is the factor of the saturation, 1.4, 2, 3, 5, 20; the last two add 0.1 and 0.2 to it as well. Hue and
    brightest channel of a pixel stay. Pixels without a hue, so all of a grey image, are left as they are.
    """
    factor, added = level(severity, SATURATION)
    value = images.amax(1, keepdim=True)
    saturation = (value - images.amin(1, keepdim=True)) / value.clamp(min=1e-12)
    stronger = (saturation * factor + added).clamp(max=1)
    # Where there is no saturation, value - images is 0 and stays it.
    return (value - (value - images) * stronger / saturation.clamp(min=1e-12)).clamp(0, 1)
