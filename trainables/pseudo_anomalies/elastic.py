"""Elastic deformation: every pixel displaced by a smooth random field (Simard et al. 2003)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import grid_sample

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._geometry import pixels
from trainables.pseudo_anomalies._noise import smooth_noise
from trainables.pseudo_anomalies._whole import replaced


def elastic(
    images: Tensor,
    generator: torch.Generator,
    *,
    alpha: Annotated[Fraction, Ge(0.005), Le(0.2)] = 0.02,
    sigma: Annotated[Fraction, Ge(0.01), Le(0.25)] = 0.05,
) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1] warped by a smooth random displacement; the mask is all True.

    alpha: how far pixels move (root mean square per axis). sigma: the distance over which the displacement varies. Both
    are shares of the shorter side; COBRA's alpha 200 and sigma 7 at 224 pixels are 0.021 and 0.031 here.
    An image of one colour stays as it is.

    Looks like: the whole picture seen through bad glass; straight lines wave.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    rows, columns = pixels(images)
    down = alpha * side * smooth_noise(images, generator, sigma * side)
    right = alpha * side * smooth_noise(images, generator, sigma * side)
    y = (2 * (rows + down) + 1) / height - 1
    x = (2 * (columns + right) + 1) / width - 1
    grid = torch.stack([x, y], dim=-1).to(images.dtype)
    warped = grid_sample(images, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
    return replaced(images, warped)
