"""Random numbers, one per image: drawn on the generator's own device, then moved to the images'."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(images: Tensor, generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """One number per image, uniform in [low, high): float32 (B,) on the images' device."""
    draws = torch.rand(len(images), generator=generator, device=generator.device)
    return (low + (high - low) * draws).to(images.device)


def whole(images: Tensor, generator: torch.Generator, count: int | Tensor) -> Tensor:
    """One whole number per image, uniform in 0..count-1: int64 (B,) on the images' device; count is one or (B,)."""
    return (uniform(images, generator) * count).long()


def per_pixel(draws: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1), to be combined with something (B, H, W)."""
    return draws[:, None, None]


def per_image(draws: Tensor, images: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1) in the images' dtype, to be combined with images."""
    return draws.to(images.dtype)[:, None, None, None]
