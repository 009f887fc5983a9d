"""Random numbers, drawn for each image from its own generator, so results do not depend on the batch."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(images: Tensor, random: list[torch.Generator], *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers in [low, high): (B, *shape) in the dtype and on the device of the images."""
    draws = [torch.rand(shape, generator=generator, device=generator.device) for generator in random]
    return low + (high - low) * torch.stack(draws).to(images)


def normal(images: Tensor, random: list[torch.Generator], *shape: int) -> Tensor:
    """Normal numbers of mean 0 and variance 1: (B, *shape) in the dtype and on the device of the images."""
    draws = [torch.randn(shape, generator=generator, device=generator.device) for generator in random]
    return torch.stack(draws).to(images)


def poisson(rates: Tensor, random: list[torch.Generator]) -> Tensor:
    """Counts (B, ...) whose expected values are `rates` (B, ...)."""
    pairs = zip(rates, random, strict=True)
    return torch.stack([torch.poisson(rate.to(generator.device), generator) for rate, generator in pairs]).to(rates)


def sign(images: Tensor, random: list[torch.Generator], *shape: int) -> Tensor:
    """-1 or +1, equally likely: (B, *shape)."""
    return torch.where(uniform(images, random, *shape) < 0.5, -1.0, 1.0).to(images)


def per_image(numbers: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return numbers[:, None, None, None]
