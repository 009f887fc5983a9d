"""CutPaste-scar: a thin strip of the image, recoloured, turned and pasted elsewhere (Li et al. 2021, section 2.3)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._colour import jitter as colour_jitter
from trainables.pseudo_anomalies._draws import per_pixel, uniform
from trainables.pseudo_anomalies._geometry import pixels, take
from trainables.pseudo_anomalies._redraw import redraw

NARROWEST, SHORTEST = 2 / 16, 10 / 25
"""The least width and length as shares of the largest, as in the paper (2 to 16 and 10 to 25 pixels)."""

NARROWEST_PIXELS, SHORTEST_PIXELS = 1.5, 4.0
"""Thinner than sqrt(2) a turned strip can slip between the pixels' centres."""

TILT = math.pi / 4


def scar(
    images: Tensor,
    generator: torch.Generator,
    *,
    width: Annotated[Fraction, Ge(0.01), Le(0.2)] = 0.08,
    length: Annotated[Fraction, Ge(0.05), Le(0.5)] = 0.35,
    jitter: Fraction = 0.3,
) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with one thin strip of itself turned and pasted elsewhere.

    width, length: largest width and length of the strip as shares of the shorter side; draws are U[width / 8, width]
    and U[0.4 length, length], at least 1.5 and 4 pixels. The tilt is U[-45, 45] degrees.
    jitter: strength of the strip's change of brightness and contrast (three channels: also hue and saturation).
    The paper's values at 256 pixels are 0.0625, 0.098 and 0.1; on a 64 pixel image that is a speck nobody sees.
    """
    height_pixels, width_pixels = images.shape[-2:]
    side = min(height_pixels, width_pixels)

    def draw() -> PseudoAnomalies:
        across = (side * width * uniform(images, generator, NARROWEST, 1)).clamp(min=NARROWEST_PIXELS) / 2
        along = (side * length * uniform(images, generator, SHORTEST, 1)).clamp(min=SHORTEST_PIXELS) / 2
        angle = uniform(images, generator, -TILT, TILT)
        cos, sin = angle.cos(), angle.sin()
        reach_y, reach_x = along * cos + across * sin.abs(), along * sin.abs() + across * cos
        centre_y = _centre(images, generator, reach_y, height_pixels)
        centre_x = _centre(images, generator, reach_x, width_pixels)
        from_y = _centre(images, generator, along, height_pixels)
        from_x = _centre(images, generator, across, width_pixels)

        rows, columns = pixels(images)
        y, x = rows - per_pixel(centre_y), columns - per_pixel(centre_x)
        # Coordinates in the upright strip that the pixel was turned out of.
        up = y * per_pixel(cos) - x * per_pixel(sin)
        right = y * per_pixel(sin) + x * per_pixel(cos)
        mask = ((up.abs() <= per_pixel(along)) & (right.abs() <= per_pixel(across)))[:, None]
        source_rows = (up + per_pixel(from_y)).round().long().clamp(0, height_pixels - 1)
        source_columns = (right + per_pixel(from_x)).round().long().clamp(0, width_pixels - 1)
        strip = colour_jitter(take(images, source_rows, source_columns), mask, jitter, generator)
        return PseudoAnomalies(torch.where(mask, strip, images), mask)

    return redraw(images, draw)


def _centre(images: Tensor, generator: torch.Generator, reach: Tensor, pixels_along: int) -> Tensor:
    """Where the middle of a strip that reaches this far to both sides may lie, uniform."""
    return reach + (pixels_along - 1 - 2 * reach) * uniform(images, generator)
