"""Pixelate: too low a resolution, enlarged (Hendrycks & Dietterich 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from assay.corruptions._severity import level

KEPT = (0.6, 0.5, 0.4, 0.3, 0.25)
"""Share of the pixels kept along each side; values of the paper."""


def pixelate(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] averaged to fewer pixels, which are then repeated; deterministic.

    Severity is the share of the pixels kept along each side: 60, 50, 40, 30, 25 %, whatever the image size.
    Raises InputError for any other severity.
    """
    share = level(severity, KEPT)
    height, width = images.shape[-2:]
    few = _averages(height, int(height * share)).to(images) @ images @ _averages(width, int(width * share)).to(images).T
    return interpolate(few, size=(height, width), mode="nearest-exact").clamp(0, 1)


def _averages(many: int, few: int) -> Tensor:
    """The matrix (few, many) that averages `many` pixels over `few` equal parts, weighted by coverage."""
    edges = torch.arange(few + 1) * (many / few)
    pixels = torch.arange(many)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return overlap.clamp(min=0) * (few / many)
