"""One random number per image, drawn on the generator's device and moved to that of the images."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(
    images: Tensor, generator: torch.Generator, low: float | Tensor = 0.0, high: float | Tensor = 1.0
) -> Tensor:
    """One number per image, uniform in [low, high): float32 (B,) on the images' device; limits are numbers or (B,)."""
    draws = torch.rand(len(images), generator=generator, device=generator.device).to(images.device)
    return low + (high - low) * draws


def whole(images: Tensor, generator: torch.Generator, count: int | Tensor) -> Tensor:
    """One integer per image, uniform in 0..count-1: int64 (B,) on the images' device; count is a number or (B,)."""
    return (uniform(images, generator) * count).long()


def log_uniform(images: Tensor, generator: torch.Generator, low: float) -> Tensor:
    """One ratio per image in [low, 1 / low], uniform in its logarithm."""
    return torch.tensor(low, device=images.device) ** uniform(images, generator, -1, 1)


def neighbour(images: Tensor, generator: torch.Generator) -> Tensor:
    """For every image the number of another one in the batch: int64 (B,); in a batch of one, its own."""
    batch = len(images)
    return (torch.arange(batch, device=images.device) + 1 + whole(images, generator, max(batch - 1, 1))) % batch


def per_pixel(draws: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1), which broadcasts to (B, H, W)."""
    return draws[:, None, None]
