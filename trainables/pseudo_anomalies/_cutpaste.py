"""The two pastes of CutPaste (Li et al. 2021): a rectangle and a turned strip of the image, recoloured."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from trainables.pseudo_anomalies._colour import jitter as colour_jitter
from trainables.pseudo_anomalies._draws import log_uniform, uniform
from trainables.pseudo_anomalies._geometry import Turned, box_sides, middle, reaches, two_places
from trainables.pseudo_anomalies._paste import Boxed, Draw, Scattered
from trainables.pseudo_anomalies._spots import Spots, read
from trainables.pseudo_anomalies._windows import Box, Windows, around, boxes_elsewhere

NARROWEST_PIXELS, SHORTEST_PIXELS = 1.5, 4.0
"""Thinner than sqrt(2) a turned strip can slip between the pixels' centres."""

TILT = math.pi / 4


def rectangle(
    images: Tensor,
    generator: torch.Generator,
    some: Tensor | None = None,
    *,
    areas: tuple[float, float],
    oblong: float,
    jitter: float,
) -> Draw:
    """Draws one rectangle of every image, or of some (K,) of them, to be pasted elsewhere in it.

    areas: least and largest share of the image. oblong: least ratio of the sides; it is log-uniform up to its inverse.
    """
    those, number = _chosen(images, some)

    def draw() -> Boxed:
        aspect = log_uniform(those, generator, oblong)
        height, width = box_sides(those, uniform(those, generator, *areas), aspect)
        (top, left), (from_top, from_left) = two_places(those, generator, height, width)
        colour = colour_jitter(those, generator, jitter)

        def blocks() -> Iterator[tuple[Windows, Tensor]]:
            for windows in around(images, Box(top, left, height, width), number):
                values = boxes_elsewhere(images, windows, from_top[windows.number], from_left[windows.number])
                yield windows, colour.of_windows(windows, values)

        return Boxed(blocks())

    return draw


def strip(
    images: Tensor,
    generator: torch.Generator,
    some: Tensor | None = None,
    *,
    widths: tuple[float, float],
    lengths: tuple[float, float],
    jitter: float,
) -> Draw:
    """Draws one upright strip of every image, or of some (K,), to be pasted elsewhere, tilted by U[-45, 45] degrees.

    widths, lengths: least and largest, as shares of the shorter side; never less than 1.5 and 4 pixels.
    """
    those, number = _chosen(images, some)
    height, width = images.shape[-2:]
    side = min(height, width)

    def draw() -> Scattered:
        across = (side * uniform(those, generator, *widths)).clamp(min=NARROWEST_PIXELS) / 2
        along = (side * uniform(those, generator, *lengths)).clamp(min=SHORTEST_PIXELS) / 2
        angle = uniform(those, generator, -TILT, TILT)
        reach_y, reach_x = reaches(along, across, angle)
        y, x = middle(those, generator, reach_y, height), middle(those, generator, reach_x, width)
        from_y, from_x = middle(those, generator, along, height), middle(those, generator, across, width)
        turned = Turned(y, x, along, across, angle)
        spots = turned.spots(those)
        up, right = turned.upright(*spots)
        row = (from_y[spots.image] + up).round().long().clamp(0, height - 1)
        column = (from_x[spots.image] + right).round().long().clamp(0, width - 1)
        own = number[spots.image]
        values = read(images, Spots(own, row, column))
        changed = colour_jitter(those, generator, jitter).of_spots(spots.image, values)
        return Scattered(spots._replace(image=own), changed)

    return draw


def _chosen(images: Tensor, some: Tensor | None) -> tuple[Tensor, Tensor]:
    """As many images as are drawn for, of whatever content, and the numbers (K,) of the real ones."""
    if some is None:
        return images, torch.arange(len(images), device=images.device)
    return images[: len(some)], some
