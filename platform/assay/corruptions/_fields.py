"""Random fields, one per image: smooth noise, clouds, and a linear ramp across the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay.corruptions._blur import convolve, gaussian
from assay.corruptions._draws import normal


def smooth(images: Tensor, random: list[torch.Generator], sigma: float) -> Tensor:
    """A Gaussian field (B, 1, H, W) with mean 0, variance 1 and a correlation length of `sigma` pixels."""
    filter_ = gaussian(sigma)
    # Filtering white noise multiplies its standard deviation by the filter's norm.
    white = normal(images, random, 1, *images.shape[-2:])
    return convolve(white / filter_.norm().to(white), filter_)


def plasma(images: Tensor, random: list[torch.Generator], decay: float) -> Tensor:
    """Clouds (B, 1, H, W) in [0, 1]: noise filtered to a power of the frequency (Peitgen & Saupe 1988, section 2.4).

    decay: how much the field's variation falls from one scale to half that scale; larger values give smoother fields.
    """
    height, width = images.shape[-2:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = math.inf  # the mean
    spectrum = torch.fft.rfft2(normal(images, random, 1, height, width))
    # In two dimensions, an octave of frequencies has four times the waves of the octave below: hence the 1.
    field = torch.fft.irfft2(spectrum * (frequency ** -(math.log2(decay) + 1)).to(images), s=(height, width))
    lowest, highest = field.amin((2, 3), keepdim=True), field.amax((2, 3), keepdim=True)
    result: Tensor = (field - lowest) / (highest - lowest)
    return result


def ramp(images: Tensor, angle: Tensor) -> Tensor:
    """A plane (B, 1, H, W) from -1 in one corner to 1 in the other, rising at `angle` (B,) to the rows, in radians."""
    height, width = images.shape[-2:]
    down = torch.linspace(-1, 1, height).to(images)[None, :, None]
    right = torch.linspace(-1, 1, width).to(images)[None, None, :]
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return ((down * sin + right * cos) / (sin.abs() + cos.abs()))[:, None]
