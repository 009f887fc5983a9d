"""The foreground of an image: coarse cells that differ from the colour of its border."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from trainables.pseudo_anomalies._draws import uniform

CELLS = 32
LEVELS = 64
LEAST = 0.05
"""A foreground of fewer cells than this share is taken for noise, and the whole image is used instead."""


@torch.no_grad()
def foreground(images: Tensor) -> Tensor:
    """Bool (B, 32, 32): cells whose colour is far from the median colour of the border, by Otsu's threshold.

    All True for an image without such a part, for example a uniform texture.
    """
    frame = [images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]]
    background = torch.cat(frame, dim=2).median(dim=2).values
    distance = adaptive_avg_pool2d((images - background[:, :, None, None]).abs().mean(1, keepdim=True), CELLS)[:, 0]
    far = distance > _otsu(distance.flatten(1))[:, None, None]
    enough = far.float().mean((1, 2)) >= LEAST
    return far | ~enough[:, None, None]


def _otsu(values: Tensor) -> Tensor:
    """The threshold (B,) that best separates values (B, N) >= 0 into two groups (Otsu 1979)."""
    top = values.amax(1, keepdim=True).clamp(min=1e-6)
    level = (values / top * (LEVELS - 1)).round()
    counts = torch.zeros(len(values), LEVELS, dtype=values.dtype, device=values.device)
    counts.scatter_add_(1, level.long(), torch.ones_like(values))
    share = (counts / values.shape[1]).cumsum(1)
    mass = (counts / values.shape[1] * torch.arange(LEVELS, device=values.device)).cumsum(1)
    between = (mass[:, -1:] * share - mass) ** 2 / (share * (1 - share)).clamp(min=1e-6)
    return (between.argmax(1) + 0.5) / (LEVELS - 1) * top[:, 0]


def somewhere(images: Tensor, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A uniformly random place (y, x), in pixels (B,), inside a True cell."""
    counts = cells.flatten(1).cumsum(1)
    wanted = 1 + (uniform(images, generator) * counts[:, -1]).long()
    cell = torch.searchsorted(counts, wanted[:, None])[:, 0]
    height, width = images.shape[-2:]
    y = (cell // CELLS + uniform(images, generator)) * height / CELLS - 0.5
    x = (cell % CELLS + uniform(images, generator)) * width / CELLS - 0.5
    return y.clamp(0, height - 1), x.clamp(0, width - 1)
