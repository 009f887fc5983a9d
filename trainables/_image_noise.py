"""Gaussian noise that is a function of the image: the same bits of chance on every device, drawn where the image is.

A 64-bit seed from SHA-256 of the image, a counter, the mixing function of SplitMix64 (Steele et al. 2014), and
Box and Muller's transform (1958). Each number can be computed alone, so a GPU draws them all at once and nothing is
copied to it but the seeds. As SHA-256 cannot be steered, nor can the noise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def seeds(images: Tensor) -> Tensor:
    """(B,) int64 on the images' device, from the SHA-256 of each image's float32 values; one copy to the host."""
    pixels = (images.detach().float() + 0.0).cpu().numpy()  # + 0.0: -0.0 is the same image as 0.0
    found = [int.from_bytes(hashlib.sha256(one.tobytes()).digest()[:8], "big", signed=True) for one in pixels]
    return torch.tensor(found, dtype=torch.int64, device=images.device)


def gaussian(seeds: Tensor, draw: int, shape: Sequence[int]) -> Tensor:
    """Noise (B, *shape) float32 of mean 0 and deviation 1; draw: 0, 1, ... for independent ones of the same seeds."""
    size = math.prod(shape)
    pairs = (size + 1) // 2
    counter = torch.arange(draw * pairs, (draw + 1) * pairs, device=seeds.device)
    mixed = _mixed(_mixed(seeds)[:, None] + counter)
    radius = (-2 * ((_right(mixed, 32) + 0.5) * 2.0**-32).clamp(max=1).log()).sqrt()
    angle = (mixed & 0xFFFFFFFF) * (2 * math.pi * 2.0**-32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :size].reshape(len(seeds), *shape)


def _mixed(values: Tensor) -> Tensor:
    """SplitMix64's output for states (...) int64, which stand for unsigned ones."""
    z = values * _signed(GOLDEN)
    z = (z ^ _right(z, 30)) * _signed(FIRST)
    z = (z ^ _right(z, 27)) * _signed(SECOND)
    return z ^ _right(z, 31)


def _right(values: Tensor, by: int) -> Tensor:
    """Shifted right, zeros moving in."""
    return (values >> by) & ((1 << (64 - by)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
