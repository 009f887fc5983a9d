"""Smooth random fields: Gaussian-filtered noise and Perlin's gradient noise, one field per image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from trainables.pseudo_anomalies._draws import per_pixel, uniform, whole
from trainables.pseudo_anomalies._geometry import pixels


def smooth_noise(images: Tensor, generator: torch.Generator, sigma: float) -> Tensor:
    """A Gaussian random field (B, H, W) of mean 0 and variance 1, smooth over `sigma` pixels, borders included."""
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    # Filtering white noise multiplies its standard deviation by the filter's norm.
    kernel = (kernel / kernel.norm()).to(images.device)
    height, width = images.shape[-2:]
    shape = (len(images), 1, height + 2 * radius, width + 2 * radius)
    white = torch.randn(shape, generator=generator, device=generator.device).to(images.device)
    return conv2d(conv2d(white, kernel[None, None, :, None]), kernel[None, None, None, :])[:, 0]


def perlin_noise(images: Tensor, generator: torch.Generator, finest: int) -> Tensor:
    """Perlin's gradient noise (B, H, W), about -1 to 1, turned at random, with 2^k cells a side, 1 to `finest`.

    k is drawn for each image and each side. Perlin 1985, scaled by sqrt(2) as Zavrtanik et al. 2021 do. The lattice
    repeats where the turn leads out of it.
    """
    height, width = images.shape[-2:]
    scales = int(math.log2(finest)) + 1
    cells_y, cells_x = 2 ** whole(images, generator, scales), 2 ** whole(images, generator, scales)
    lattice = finest + 1
    directions = torch.rand((len(images), lattice * lattice), generator=generator, device=generator.device)
    directions = directions.to(images.device) * 2 * math.pi
    angle = uniform(images, generator, -math.pi / 2, math.pi / 2)
    cos, sin = per_pixel(angle.cos()), per_pixel(angle.sin())
    rows, columns = pixels(images)
    y, x = (rows + 0.5) / height - 0.5, (columns + 0.5) / width - 0.5
    v = (y * cos - x * sin + 0.5) * per_pixel(cells_y)
    u = (y * sin + x * cos + 0.5) * per_pixel(cells_x)
    top, left = v.floor(), u.floor()

    def corner(down: int, right: int) -> Tensor:
        row, column = (top.long() + down) % lattice, (left.long() + right) % lattice
        direction = directions.gather(1, (row * lattice + column).flatten(1)).view_as(v)
        return (v - top - down) * direction.sin() + (u - left - right) * direction.cos()

    fade_v, fade_u = _fade(v - top), _fade(u - left)
    upper = torch.lerp(corner(0, 0), corner(0, 1), fade_u)
    lower = torch.lerp(corner(1, 0), corner(1, 1), fade_u)
    return math.sqrt(2) * torch.lerp(upper, lower, fade_v)


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (t * 6 - 15) + 10)
