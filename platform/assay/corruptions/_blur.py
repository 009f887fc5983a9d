"""Blurs: convolution with a kernel of any shape, and the kernels of defocus, motion and Gaussian blur.

Disks and lines may be a fraction of a pixel in size: each of their points is shared between its four nearest pixels.
"""

from __future__ import annotations

import math

import torch
from scipy.special import ive
from torch import Tensor
from torch.nn.functional import pad

DISK_POINTS = 24
"""Points along the radius of a disk."""

LINE_POINTS = 65


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Images (B, C, H, W), reflected at the borders, each convolved with its kernel (B or 1, K, K) of odd side."""
    reach = kernels.shape[-1] // 2
    padded = pad(images, (reach,) * 4, mode="reflect")
    size = (padded.shape[-2], padded.shape[-1])
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels.to(images), s=size)[:, None]
    result: Tensor = torch.fft.irfft2(spectrum, s=size)
    return result[..., 2 * reach :, 2 * reach :]


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, C, H, W) after a Gaussian blur of `sigma` pixels, which may be below 1."""
    return convolve(images, gaussian(sigma))


def gaussian(sigma: float) -> Tensor:
    """Kernel (1, K, K) of the discrete Gaussian, with variance sigma squared however small (Lindeberg 1990)."""
    reach = math.ceil(4 * sigma) + 1  # for small sigma its tails are longer than the Gaussian's
    weights = torch.from_numpy(ive(range(-reach, reach + 1), sigma**2))
    kernel = torch.outer(weights, weights)
    return (kernel / kernel.sum())[None]


def disk(radius: float) -> Tensor:
    """Kernel (1, K, K) of an out-of-focus lens: a disk of `radius` pixels, which may be below 1."""
    steps = torch.linspace(-1, 1, 2 * DISK_POINTS + 1)
    points = torch.cartesian_prod(steps, steps)
    inside = points[points.norm(dim=1) <= 1]
    return kernel(radius * inside[None], torch.ones(len(inside)), radius)


def line(length: float, angle: Tensor, sigma: float = math.inf) -> Tensor:
    """Kernel (B, K, K) of a movement: a line of `length` pixels at `angle` (B,) to the rows, in radians.

    sigma: in pixels; weights the points along the line by a Gaussian. Without it all points have equal weight.
    """
    along = torch.linspace(-0.5, 0.5, LINE_POINTS).to(angle) * length
    points = torch.stack([angle.sin()[:, None] * along, angle.cos()[:, None] * along], dim=-1)
    return kernel(points, torch.exp(-((along / sigma) ** 2) / 2), length / 2)


def kernel(points: Tensor, weights: Tensor, reach: float) -> Tensor:
    """Kernel (B, K, K) of points (B, P, 2), down and right in pixels, with weights (P,), none beyond `reach`."""
    whole = math.ceil(reach)
    places = torch.arange(-whole, whole + 1).to(points)
    shares = (1 - (points[..., None] - places).abs()).clamp(min=0)  # (B, P, 2, K): bilinear weights
    down, right = shares.unbind(2)
    return (down * (weights / weights.sum())[:, None]).transpose(1, 2) @ right
