"""Foreground patch: a piece of the object, distorted, rotated and pasted back onto it (after PatchGuard)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._colour import jitter
from trainables.pseudo_anomalies._draws import uniform, whole
from trainables.pseudo_anomalies._foreground import foreground, somewhere
from trainables.pseudo_anomalies._geometry import Turned
from trainables.pseudo_anomalies._paste import Draw, Scattered, pasted
from trainables.pseudo_anomalies._spots import Spots, sample

LIGHT, MEDIUM, HEAVY = 1, 2, 3
FIXED = {"light": LIGHT, "medium": MEDIUM, "heavy": HEAVY}
UP_TO_LIGHT, UP_TO_MEDIUM = 0.2, 0.4
"""Light, medium and heavy are drawn with probabilities 0.2, 0.2 and 0.6, as in PatchGuard's code."""

SMALLEST = 1 / 16
"""PatchGuard's smallest side: 14 pixels of 224."""

KNOTS = 5


@pasted
def foreground_patch(
    images: Tensor,
    generator: torch.Generator,
    *,
    level: Literal["light", "medium", "heavy", "mixed"] = "mixed",
    side: Annotated[Fraction, Ge(0.1), Le(0.5)] = 0.3,
) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with a distorted piece of its own foreground pasted on it.

    level: `light` recolours the piece (jitter 0.2), `medium` recolours it more (0.4) and bends it, `heavy` recolours it
    yet more (0.6), bends it twice as far and inverts half of the pieces; `mixed` draws them with probabilities 0.2,
    0.2 and 0.6.
    side: largest height and width of the piece as shares of the shorter side; each is U[1/16, side]. It is rotated by
    U[-90, 90] degrees.
    The foreground is what differs from the colour of the image's border; in a texture that fills the image it is
    everything. Only the centre of the piece is sure to lie on it. On images of one colour light and medium do little.

    Looks like: a slanted piece of the object in the wrong place, bent, in the wrong tones or as its own negative.
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    cells = foreground(images)

    def draw(waiting: Tensor) -> Scattered:
        along = (shorter / 2 * uniform(images, generator, SMALLEST, side)).clamp(min=1)
        across = (shorter / 2 * uniform(images, generator, SMALLEST, side)).clamp(min=1)
        angle = uniform(images, generator, -math.pi / 2, math.pi / 2)
        to_y, to_x = somewhere(images, cells, generator)
        from_y, from_x = somewhere(images, cells, generator)
        piece = Turned(to_y, to_x, along, across, angle)
        spots = piece.spots(images, waiting)
        image = spots.image
        up, right = piece.upright(*spots)
        heaviness = _levels(images, generator, level)
        bend = (heaviness - LIGHT) * torch.minimum(along, across) / 4
        bend_y, bend_x = _bends(images, generator, piece, spots, up, right)
        y, x = from_y[image] + up + bend[image] * bend_y, from_x[image] + right + bend[image] * bend_x
        values = jitter(images, generator, 0.2 * heaviness).of_spots(image, sample(images, image, y, x))
        inverted = (heaviness == HEAVY) & (whole(images, generator, 2) == 1)
        return Scattered(spots, torch.where(inverted[image, None], 1 - values, values))

    return draw


def _levels(images: Tensor, generator: torch.Generator, level: str) -> Tensor:
    """1 for light, 2 for medium, 3 for heavy, per image (B,)."""
    drawn = uniform(images, generator)
    if level in FIXED:
        return torch.full_like(drawn, FIXED[level])
    return LIGHT + (drawn >= UP_TO_LIGHT).to(drawn) + (drawn >= UP_TO_MEDIUM).to(drawn)


def _bends(
    images: Tensor, generator: torch.Generator, piece: Turned, spots: Spots, up: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Displacements (N,), smooth over the piece, of variance about 1: Gaussian noise on 5 x 5 knots, interpolated."""
    shape = (len(images), 2, KNOTS, KNOTS)
    knots = torch.randn(shape, generator=generator, device=generator.device).to(images.device)
    y = (up / piece.along[spots.image] + 1) / 2 * (KNOTS - 1)
    x = (right / piece.across[spots.image] + 1) / 2 * (KNOTS - 1)
    bends = sample(knots, spots.image, y, x)
    return bends[:, 0], bends[:, 1]
