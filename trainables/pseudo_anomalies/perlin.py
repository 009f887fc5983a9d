"""Perlin-shaped blots of foreign texture, after DRAEM (Zavrtanik et al. 2021, section 3.3), texture from the batch."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import grid_sample

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._colour import turn_hue
from trainables.pseudo_anomalies._draws import per_image, per_pixel, uniform, whole
from trainables.pseudo_anomalies._geometry import log_uniform, pixels
from trainables.pseudo_anomalies._noise import perlin_noise
from trainables.pseudo_anomalies._redraw import redraw

THRESHOLD = 0.5
SMALLEST = 0.02
"""Least share of the image: where too little of the noise exceeds the threshold, its highest part is taken."""

FINEST_CELLS, CELL_PIXELS = 32, 4
"""DRAEM's finest noise has 32 cells a side; a cell of fewer than 4 pixels would be noise without a shape."""


def perlin(
    images: Tensor, generator: torch.Generator, *, opacity: Annotated[Fraction, Ge(0.05)] = 1.0
) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1], each blended in a Perlin-noise mask with the altered texture of another image.

    opacity: largest share of the texture in the blend, each U[opacity / 5, opacity]; 1 is what DRAEM's code uses.
    The texture is another image of the batch (the image itself in a batch of one), turned, zoomed, shifted, its
    contrast bent, inverted or re-coloured. DRAEM's comes from a data set of textures; it found that to matter little.
    """

    def draw() -> PseudoAnomalies:
        mask = _blots(images, generator)
        share = per_image(uniform(images, generator, opacity / 5, opacity), images)
        blended = (1 - share) * images + share * _texture(images, generator)
        return PseudoAnomalies(torch.where(mask, blended.clamp(0, 1), images), mask)

    return redraw(images, draw)


def _blots(images: Tensor, generator: torch.Generator) -> Tensor:
    """Masks (B, 1, H, W) where Perlin noise of a random scale exceeds 0.5, never less than 2 % of the image."""
    height, width = images.shape[-2:]
    finest = min(FINEST_CELLS, min(height, width) // CELL_PIXELS)
    noise = perlin_noise(images, generator, finest)
    fewest = math.ceil(SMALLEST * height * width)
    highest = noise.flatten(1).topk(fewest, dim=1).values[:, -1]
    return (noise >= per_pixel(highest.clamp(max=THRESHOLD)))[:, None]


def _texture(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another image of the batch for every image, moved and re-coloured until it is no normal image: (B, C, H, W)."""
    batch, channels, height, width = images.shape
    neighbour = (torch.arange(batch, device=images.device) + 1 + whole(images, generator, max(batch - 1, 1))) % batch
    angle, zoom = uniform(images, generator, 0, 2 * math.pi), log_uniform(images, generator, 0.5)
    shift_y, shift_x = uniform(images, generator, -1, 1), uniform(images, generator, -1, 1)
    rows, columns = pixels(images)
    y, x = (2 * rows + 1) / height - 1, (2 * columns + 1) / width - 1
    cos, sin = per_pixel(zoom * angle.cos()), per_pixel(zoom * angle.sin())
    grid = torch.stack([y * sin + x * cos + per_pixel(shift_x), y * cos - x * sin + per_pixel(shift_y)], dim=-1)
    moved = grid_sample(images[neighbour], grid.to(images.dtype), padding_mode="reflection", align_corners=False)
    inverted = per_image(whole(images, generator, 2), images)
    gamma = per_image(log_uniform(images, generator, 0.4), images)
    # Not from 0: the slope of a power below 1 is infinite there.
    toned = (inverted + (1 - 2 * inverted) * moved).clamp(min=1e-4, max=1) ** gamma
    return turn_hue(toned, uniform(images, generator)) if channels == 3 else toned
