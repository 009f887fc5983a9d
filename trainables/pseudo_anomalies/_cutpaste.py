"""The two pastes of CutPaste (Li et al. 2021): a recoloured rectangle and a recoloured, tilted strip of the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables.pseudo_anomalies._boxes import Box, Boxed, Source
from trainables.pseudo_anomalies._colour import jitter as colour_jitter
from trainables.pseudo_anomalies._draws import log_uniform, uniform
from trainables.pseudo_anomalies._geometry import Turned, box_sides, middle, reaches, two_places
from trainables.pseudo_anomalies._paste import Draw, Scattered
from trainables.pseudo_anomalies._spots import Spots, read

NARROWEST_PIXELS, SHORTEST_PIXELS = 1.5, 4.0
"""A tilted strip thinner than sqrt(2) can slip between pixel centres."""

TILT = math.pi / 4


def rectangle(
    images: Tensor, generator: torch.Generator, *, areas: tuple[float, float], oblong: float, jitter: float
) -> Draw:
    """Take one rectangle of every image, to be pasted elsewhere in it.

    areas: smallest and largest share of the image. oblong: smallest aspect ratio; it is log-uniform up to its inverse.
    """
    own, whole = torch.arange(len(images), device=images.device), images.new_ones(len(images))

    def draw(waiting: Tensor) -> Boxed:
        aspect = log_uniform(images, generator, oblong)
        height, width = box_sides(images, uniform(images, generator, *areas), aspect)
        to, taken = two_places(images, generator, height, width)
        return Boxed(
            Box(*to, height, width), Source(images, own, *taken), colour_jitter(images, generator, jitter), whole
        )

    return draw


def strip(
    images: Tensor,
    generator: torch.Generator,
    *,
    widths: tuple[float, float],
    lengths: tuple[float, float],
    jitter: float,
) -> Draw:
    """Take one upright strip of every image, to be pasted elsewhere in it, tilted by U[-45, 45] degrees.

    widths, lengths: smallest and largest, as shares of the shorter side; at least 1.5 and 4 pixels.
    """
    height, width = images.shape[-2:]
    side = min(height, width)

    def draw(waiting: Tensor) -> Scattered:
        across = (side * uniform(images, generator, *widths)).clamp(min=NARROWEST_PIXELS) / 2
        along = (side * uniform(images, generator, *lengths)).clamp(min=SHORTEST_PIXELS) / 2
        angle = uniform(images, generator, -TILT, TILT)
        reach_y, reach_x = reaches(along, across, angle)
        y, x = middle(images, generator, reach_y, height), middle(images, generator, reach_x, width)
        from_y, from_x = middle(images, generator, along, height), middle(images, generator, across, width)
        turned = Turned(y, x, along, across, angle)
        spots = turned.spots(images, waiting)
        up, right = turned.upright(*spots)
        row = (from_y[spots.image] + up).round().long().clamp(0, height - 1)
        column = (from_x[spots.image] + right).round().long().clamp(0, width - 1)
        values = read(images, Spots(spots.image, row, column))
        return Scattered(spots, colour_jitter(images, generator, jitter).of_spots(spots.image, values))

    return draw
