"""The two pastes of CutPaste (Li et al. 2021): a rectangle and a turned strip of the image, recoloured."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._colour import jitter as colour_jitter
from trainables.pseudo_anomalies._draws import log_uniform, uniform
from trainables.pseudo_anomalies._geometry import Turned, box_sides, middle, reaches, two_places
from trainables.pseudo_anomalies._paste import paste
from trainables.pseudo_anomalies._spots import Spots, boxes, read

NARROWEST_PIXELS, SHORTEST_PIXELS = 1.5, 4.0
"""Thinner than sqrt(2) a turned strip can slip between the pixels' centres."""

TILT = math.pi / 4


def rectangle(
    images: Tensor, generator: torch.Generator, *, areas: tuple[float, float], oblong: float, jitter: float
) -> PseudoAnomalies:
    """Images with one rectangle of themselves pasted elsewhere.

    areas: least and largest share of the image. oblong: least ratio of the sides; it is log-uniform up to its inverse.
    """

    def draw() -> tuple[Spots, Tensor]:
        aspect = log_uniform(images, generator, oblong)
        height, width = box_sides(images, uniform(images, generator, *areas), aspect)
        (top, left), (from_top, from_left) = two_places(images, generator, height, width)
        spots, source = boxes(top, left, height, width), boxes(from_top, from_left, height, width)
        return spots, colour_jitter(images, spots.image, read(images, source), jitter, generator)

    return paste(images, draw)


def strip(
    images: Tensor,
    generator: torch.Generator,
    *,
    widths: tuple[float, float],
    lengths: tuple[float, float],
    jitter: float,
) -> PseudoAnomalies:
    """Images with one upright strip of themselves pasted elsewhere, tilted by U[-45, 45] degrees.

    widths, lengths: least and largest, as shares of the shorter side; never less than 1.5 and 4 pixels.
    """
    height, width = images.shape[-2:]
    side = min(height, width)

    def draw() -> tuple[Spots, Tensor]:
        across = (side * uniform(images, generator, *widths)).clamp(min=NARROWEST_PIXELS) / 2
        along = (side * uniform(images, generator, *lengths)).clamp(min=SHORTEST_PIXELS) / 2
        angle = uniform(images, generator, -TILT, TILT)
        reach_y, reach_x = reaches(along, across, angle)
        y, x = middle(images, generator, reach_y, height), middle(images, generator, reach_x, width)
        from_y, from_x = middle(images, generator, along, height), middle(images, generator, across, width)
        turned = Turned(y, x, along, across, angle)
        spots = turned.spots(images)
        up, right = turned.upright(*spots)
        row = (from_y[spots.image] + up).round().long().clamp(0, height - 1)
        column = (from_x[spots.image] + right).round().long().clamp(0, width - 1)
        values = read(images, Spots(spots.image, row, column))
        return spots, colour_jitter(images, spots.image, values, jitter, generator)

    return paste(images, draw)
