"""Frost: ice crystals on the camera window (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._colour import colour
from assay.corruptions._draws import uniform
from assay.corruptions._fields import plasma
from assay.corruptions._severity import level
from assay.corruptions._warp import places

COVER = ((0.4, 0.5), (0.55, 0.6), (0.65, 0.7), (0.7, 0.8), (0.75, 0.9))
"""(opacity of the ice, share of the window it covers).

The paper overlays photographs of frost with weights 0.4, 0.6, 0.7, 0.7, 0.75, close to these opacities. Here the
crystals are synthesised, so no photograph is needed, and grow from the borders as frost does.
"""
NUCLEI = 24
"""Number of crystals on a window."""

ICE = (0.86, 0.93, 1.0)


def frost(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] behind six-armed crystals and a film of ice.

    Severity is the opacity of the ice, 40, 55, 65, 70, 75 %, and the share of the window it covers, 50 to 90 %.
    Raises InputError for any other severity.
    """
    opacity, reached = level(severity, COVER)
    film = plasma(images, random, decay=1.8)
    ice = 0.35 * film + 0.65 * _crystals(images, random)
    rows, columns = places(images)
    height, width = images.shape[-2:]
    from_middle = torch.maximum(rows.abs() / (height / 2), columns.abs() / (width / 2))  # 0, at the borders 1
    # Frost covers the part of the window beyond that distance from its centre, with a ragged edge.
    edge = math.sqrt(1 - reached)
    grown = ((from_middle[:, None] - edge + (film - 0.5)) / 0.3 + 0.5).clamp(0, 1)
    cover = opacity * grown * (0.3 + ice).clamp(0, 1)
    return (images + cover * (colour(images, ICE) - images)).clamp(0, 1)


def _crystals(images: Tensor, random: list[torch.Generator]) -> Tensor:
    """Feathers of ice (B, 1, H, W) in [0, 1]: every pixel belongs to the nearest of several six-armed crystals."""
    rows, columns = places(images)
    height, width = images.shape[-2:]
    side = min(height, width)
    down, right, turn = uniform(images, random, 3, NUCLEI, low=-0.5, high=0.5).unbind(1)
    distances = torch.stack(
        [(rows - d * height) ** 2 + (columns - r * width) ** 2 for d, r in _each(down, right)], dim=1
    )
    nearest = distances.argmin(1)
    y, x = (
        at - middle.gather(1, nearest.flatten(1)).view_as(nearest) * length
        for at, middle, length in ((rows, down, height), (columns, right, width))
    )
    y, x = y.double(), x.double()  # with so many twigs, the rounding of float32 would be visible
    angle = torch.atan2(y, x) + 2 * math.pi * turn.gather(1, nearest.flatten(1)).view_as(nearest)
    distance = torch.hypot(y, x) / side
    # Fold into one arm of 60 degrees: position along it, and distance from it.
    folded = torch.remainder(angle, math.pi / 3) - math.pi / 6
    along, off = distance * folded.cos(), distance * folded.sin().abs()
    arm = torch.exp(-off / 0.015)
    # Twigs leave the arm at 60 degrees, one per 0.045 of the side.
    twig = 0.5 + 0.5 * torch.cos((along - off / math.tan(math.pi / 3)) * 2 * math.pi / 0.045)
    feather = torch.maximum(arm, twig**3 * torch.exp(-off / 0.06))
    return feather[:, None].to(images)


def _each(down: Tensor, right: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Yields the nuclei one by one, coordinates (B, 1, 1) and (B, 1, 1)."""
    return [(d[:, None, None], r[:, None, None]) for d, r in zip(down.unbind(1), right.unbind(1), strict=True)]
