"""Glass blur: seen through frosted glass, each pixel shows a place nearby (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.corruptions._blur import blurred
from assay.corruptions._draws import uniform
from assay.corruptions._severity import level, scale
from assay.corruptions._warp import places, read

GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
"""(sigma of the blur, farthest jump, repetitions): lengths in pixels of an image of side 224; values of the paper.

The paper swaps pixels one after the other; here all jump at once and independently, so two may show the same place.
"""


def glass_blur(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1], blurred, with pixels shuffled over short distances, then blurred again.

    Severity is the number of jumps and their largest length along each axis: 2 x 1, 1 x 2, 3 x 2, 2 x 3, 2 x 4 pixels
    in an image of side 224, scaled in proportion for other sides.
    Raises InputError for any other severity.
    """
    sigma, farthest, times = level(severity, GLASS)
    rows, columns = places(images)
    reach = farthest * scale(images)
    result = blurred(images, sigma * scale(images))
    for _ in range(times):
        down, right = uniform(images, random, 2, *images.shape[-2:], low=-reach, high=reach).unbind(1)
        result = read(result, rows + down, columns + right)
    return blurred(result, sigma * scale(images)).clamp(0, 1)
