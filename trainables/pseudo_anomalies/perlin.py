"""Perlin-shaped blobs of foreign texture, after DRAEM (Zavrtanik et al. 2021, section 3.3)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._colour import hue_matrix, recoloured
from trainables.pseudo_anomalies._draws import log_uniform, neighbour, per_pixel, uniform, whole
from trainables.pseudo_anomalies._noise import perlin_noise
from trainables.pseudo_anomalies._paste import Draw, Scattered, pasted
from trainables.pseudo_anomalies._spots import Spots, read, sample
from trainables.pseudo_anomalies._textures import textures

THRESHOLD = 0.5
SMALLEST = 0.02
"""Smallest share of the image; where the noise exceeds the threshold on less, its highest part is taken."""

FINEST_CELLS, CELL_PIXELS = 32, 4
"""DRAEM's finest noise has 32 cells a side; cells smaller than 4 pixels would be noise without a shape."""


@pasted
def perlin(
    images: Tensor,
    generator: torch.Generator,
    *,
    opacity: Annotated[Fraction, Ge(0.05)] = 1.0,
    texture: str = "batch",
) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each blended with an altered texture inside a Perlin-noise mask.

    opacity: largest share of the texture in the blend, each U[opacity / 5, opacity]; DRAEM's code uses 1.
    texture: `batch` for another image of the batch (itself, in a batch of one), `itself`, or the path of a folder of
    images; DRAEM uses a data set of textures, and found that the choice matters little. The texture is rotated, zoomed,
    shifted, changed in contrast, inverted or recoloured. Raises DataError for a folder without images.

    Looks like: one or more cloudy blobs with hard edges, filled with a strange pattern, often half transparent.
    """

    def draw(waiting: Tensor) -> Scattered:
        spots = _blots(images, generator)
        share = uniform(images, generator, opacity / 5, opacity).to(images.dtype)[spots.image, None]
        pattern = _pattern(images, spots, texture, generator)
        return Scattered(spots, torch.lerp(read(images, spots), pattern, share).clamp(0, 1))

    return draw


def _blots(images: Tensor, generator: torch.Generator) -> Spots:
    """The pixels where Perlin noise of a random scale exceeds 0.5, never less than 2 % of an image."""
    height, width = images.shape[-2:]
    finest = min(FINEST_CELLS, min(height, width) // CELL_PIXELS)
    noise = perlin_noise(images, generator, finest)
    fewest = math.ceil(SMALLEST * height * width)
    above = noise >= THRESHOLD
    [scarce] = (above.flatten(1).sum(1) < fewest).nonzero(as_tuple=True)
    highest = noise[scarce].flatten(1).topk(fewest, dim=1).values[:, -1]
    above[scarce] = noise[scarce] >= per_pixel(highest)
    return Spots(*above.nonzero(as_tuple=True))


def _pattern(images: Tensor, spots: Spots, texture: str, generator: torch.Generator) -> Tensor:
    """Values (N, C) of the textures, one per image, moved and recoloured enough not to pass for a normal image."""
    source, number = _source(images, texture, generator)
    channels, height, width = images.shape[1:]
    angle, zoom = uniform(images, generator, 0, 2 * math.pi), log_uniform(images, generator, 0.5)
    shift_y, shift_x = uniform(images, generator, -height, height), uniform(images, generator, -width, width)
    down, right = spots.row - (height - 1) / 2, spots.column - (width - 1) / 2
    cos, sin = (zoom * angle.cos())[spots.image], (zoom * angle.sin())[spots.image]
    y = _reflected(right * sin + down * cos + shift_y[spots.image] + height / 2, height)
    x = _reflected(right * cos - down * sin + shift_x[spots.image] + width / 2, width)
    moved = sample(source, number[spots.image], y, x)
    inverted = whole(images, generator, 2).to(moved.dtype)[spots.image, None]
    gamma = log_uniform(images, generator, 0.4).to(moved.dtype)[spots.image, None]
    # Not 0, where a power below 1 has an infinite slope.
    toned = (inverted + (1 - 2 * inverted) * moved).clamp(min=1e-4, max=1) ** gamma
    if channels != 3:  # no hue
        return toned
    turns = uniform(images, generator).to(toned)
    return recoloured(toned, spots.image, hue_matrix(turns, torch.ones_like(turns)), turns.new_zeros(len(turns), 3))


def _source(images: Tensor, texture: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The images to take textures from, and which of them (B,) each image uses."""
    if texture == "batch":
        return images, neighbour(images, generator)
    if texture == "itself":
        return images, torch.arange(len(images), device=images.device)
    channels, height, width = images.shape[1:]
    candidates = textures(texture, height, width, channels)
    chosen = candidates[whole(images, generator, len(candidates)).to(candidates.device)]
    return chosen.to(images) / 255, torch.arange(len(images), device=images.device)


def _reflected(place: Tensor, side: int) -> Tensor:
    """A place along a side, reflected into it from however far outside."""
    return side - (place.remainder(2 * side) - side).abs()
