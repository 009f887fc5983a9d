"""Lines, clouds and boxes that only darken or only brighten: what a monotone detector can be trained against."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._draws import per_pixel, uniform, whole
from trainables.pseudo_anomalies._geometry import pixels
from trainables.pseudo_anomalies._noise import smooth_noise
from trainables.pseudo_anomalies._paste import Draw, Scattered, pasted
from trainables.pseudo_anomalies._spots import Spots, read

FAINTEST = 0.1
"""The least of a shade, as a share of what is there."""
SEEN = 0.02
"""Of the mask, what counts as changed."""
SHARPNESS = 6.0
"""Of the rim of a cloud."""


@pasted
def shade(
    images: Tensor,
    generator: torch.Generator,
    *,
    polarity: Literal["dark", "bright", "both"] = "dark",
    strength: Annotated[Fraction, Gt(FAINTEST), Le(1)] = 0.8,
) -> Draw:
    """Images (B, C, H, W) in [0, 1], each darker or brighter within one or two lines, a cloud or a box.

    polarity: dark multiplies pixels, bright does the same to what they lack of 1, both draws one of the two. strength:
    the strongest shade; each is U[0.1, strength] of what is there.

    Looks like: a shadow or a light spot with soft edges: a crack, a stain or a dead area.
    """
    shapes = (_line, _cloud, _box)

    def draw(waiting: Tensor) -> Scattered:
        kind = whole(images, generator, len(shapes))
        masks = torch.stack([shape(images, generator) for shape in shapes])
        mask = masks[kind, torch.arange(len(images), device=images.device)]
        mask = mask * per_pixel(uniform(images, generator, FAINTEST, strength))
        light = uniform(images, generator) < 0.5 if polarity == "both" else torch.full_like(kind, polarity == "bright")
        spots = Spots(*(mask > SEEN * FAINTEST).nonzero(as_tuple=True))
        share = mask[spots.image, spots.row, spots.column].to(images.dtype)[:, None]
        target = light.to(images.dtype)[spots.image, None]
        return Scattered(spots, torch.lerp(read(images, spots), target.expand(-1, images.shape[1]), share))

    return draw


def _line(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, H, W): one line, or two, of 1 to 4 pixels at 64 pixels, straight and with soft sides."""
    side, (rows, columns) = min(images.shape[-2:]), pixels(images)
    found = images.new_zeros(len(images), *images.shape[-2:], dtype=torch.float32)
    for number in range(2):
        angle = uniform(images, generator, 0, math.pi)
        top, left = _place(images, generator)
        down, right = rows - per_pixel(top), columns - per_pixel(left)
        cos, sin = per_pixel(angle.cos()), per_pixel(angle.sin())
        across = (right * sin - down * cos) / per_pixel(uniform(images, generator, 0.5, 2) * side / 64)
        inside = (right * cos + down * sin).abs() < per_pixel(uniform(images, generator, 0.06, 0.7) * side)
        drawn = per_pixel(uniform(images, generator) < 0.5) if number else torch.ones_like(inside)
        found = torch.maximum(found, (-across.square()).exp() * inside * drawn)
    return found


def _place(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    height, width = images.shape[-2:]
    return uniform(images, generator, 0, height), uniform(images, generator, 0, width)


def _cloud(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, H, W): where smooth noise is highest, 3 to 25 % of all places on average."""
    noise = smooth_noise(images, generator, min(images.shape[-2:]) / 8)
    level = 2**0.5 * torch.erfinv(1 - 2 * uniform(images, generator, 0.03, 0.25))  # noise is Gaussian, of variance 1
    return torch.sigmoid((noise - per_pixel(level)) * SHARPNESS)


def _box(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, H, W): an upright box of 5 to 45 % of either side."""
    height, width = images.shape[-2:]
    rows, columns = pixels(images)
    down, right = _place(images, generator)
    tall, wide = (uniform(images, generator, 0.025, 0.22) * side for side in (height, width))
    inside = ((rows - per_pixel(down)).abs() <= per_pixel(tall)) & (
        (columns - per_pixel(right)).abs() <= per_pixel(wide)
    )
    return inside.float()
