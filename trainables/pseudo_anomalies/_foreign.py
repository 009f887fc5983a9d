"""Foreign patches (FPI and PII, Tan et al. 2020, 2021): which square, and from which other image."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.pseudo_anomalies._boxes import Box
from trainables.pseudo_anomalies._draws import neighbour, uniform

CORE = 0.8
SMALLEST = 0.1
WEAKEST, STRONGEST = 0.05, 0.95


def others(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The images to take patches from, and which of them (B,) each image uses: another one of the batch.

    In a batch of one an image uses itself, rolled by half of each side.
    """
    if len(images) == 1:
        images = images.roll((images.shape[-2] // 2, images.shape[-1] // 2), (2, 3))
    return images, neighbour(images, generator)


def square(images: Tensor, generator: torch.Generator, largest: float) -> Box:
    """A square of side U[0.1, largest] times the shorter side of the image, centred in its inner 80 %.

    It is clipped to the image without its outermost pixels, which blending needs.
    """
    height, width = images.shape[-2:]
    side = (uniform(images, generator, SMALLEST, largest) * min(height, width)).round().long().clamp(min=2)

    def along(length: int) -> tuple[Tensor, Tensor]:
        middle = length * uniform(images, generator, (1 - CORE) / 2, (1 + CORE) / 2)
        first = (middle - side / 2).round().long()
        start, end = first.clamp(1, length - 2), (first + side).clamp(2, length - 1)
        return start, end - start

    (top, tall), (left, wide) = along(height), along(width)
    return Box(top, left, tall, wide)
