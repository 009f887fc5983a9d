"""JPEG compression: 8 x 8 blocks and ringing at edges (Hendrycks & Dietterich 2019, section 3; ITU-T T.81)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from assay.corruptions._severity import level

QUALITY = (25, 18, 15, 10, 7)
"""Quality on the scale of the Independent JPEG Group; values of the paper."""

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantisation steps of the coefficients (T.81, annex K.1), at quality 50."""

YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""From red, green, blue to luma and two colour differences (JFIF 1.02)."""

TIE = 1e-3
"""Added before rounding. Flat blocks often lie halfway between two steps, where the last bit would decide."""


def jpeg_compression(images: Tensor, severity: int, random: list[torch.Generator]) -> Tensor:
    """Images (B, C, H, W) in [0, 1] compressed to JPEG and decoded again; deterministic.

    Severity is the quality: 25, 18, 15, 10, 7. Chroma is stored at half the resolution, as usual.
    Raises InputError for any other severity.
    """
    quality = level(severity, QUALITY)
    values = (images * 255).round()
    if images.shape[1] == 1:
        result = _coded(values - 128, quality, LUMINANCE) + 128
    else:
        matrix = torch.tensor(YCBCR).to(images)
        height, width = images.shape[-2:]
        parts = torch.einsum("kc,bchw->bkhw", matrix, values) - values.new_tensor([128, 0, 0])[:, None, None]
        lightness = _coded(parts[:, :1], quality, LUMINANCE)
        halved = avg_pool2d(pad(parts[:, 1:], (0, width % 2, 0, height % 2), mode="replicate"), 2)
        colours = interpolate(_coded(halved, quality, CHROMINANCE), scale_factor=2, mode="bilinear")
        coded = torch.cat([lightness + 128, colours[..., :height, :width]], dim=1)
        result = torch.einsum("ck,bkhw->bchw", torch.linalg.inv(matrix), coded)
    return (result.round() / 255).clamp(0, 1)


def _coded(planes: Tensor, quality: int, table: tuple[tuple[int, ...], ...]) -> Tensor:
    """Planes (B, C, H, W), about -128 to 127, after cosine transform, quantisation and the inverse transform."""
    height, width = planes.shape[-2:]
    padded = pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
    tall, wide = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.reshape(*planes.shape[:2], tall, 8, wide, 8).transpose(3, 4)  # (B, C, tall, wide, 8, 8)
    cosines, steps = _cosines().to(planes), _steps(quality, table).to(planes)
    coefficients = cosines @ blocks @ cosines.T
    rounded = (coefficients / steps + TIE).round() * steps
    decoded: Tensor = cosines.T @ rounded @ cosines
    return decoded.transpose(3, 4).reshape(padded.shape)[..., :height, :width]


def _cosines() -> Tensor:
    """The orthogonal cosine transform (8, 8) of eight values, one frequency per row (T.81, annex A.3.3)."""
    frequency, place = torch.arange(8.0)[:, None], torch.arange(8.0)[None, :]
    cosines = torch.cos((2 * place + 1) * frequency * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    return cosines


def _steps(quality: int, table: tuple[tuple[int, ...], ...]) -> Tensor:
    """Quantisation steps (8, 8) at a quality below 50, scaled as by the Independent JPEG Group."""
    return ((torch.tensor(table) * (5000 // quality) + 50) // 100).clamp(1, 255)
