"""Colour jitter of a part of every image, with the part's own mean as the pivot of contrast."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import per_image, uniform


def jitter(images: Tensor, mask: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Images with brightness and contrast (three channels: hue and saturation too) changed at random, in [0, 1].

    Factors are U[1 - strength, 1 + strength]; the hue turns by U[-strength / 2, strength / 2] of a circle.
    mask: (B, 1, H, W) bool, the part that contrast is taken of; what is outside it is changed too.
    """

    def factor() -> Tensor:
        return per_image(uniform(images, generator, 1 - strength, 1 + strength), images)

    bright = images * factor()
    pixels = mask.sum((2, 3), keepdim=True).clamp(min=1) * images.shape[1]
    pivot = (bright * mask).sum((1, 2, 3), keepdim=True) / pixels
    changed = pivot + (bright - pivot) * factor()
    if images.shape[1] == 3:
        grey = changed.mean(1, keepdim=True)
        changed = grey + (changed - grey) * factor()
        changed = turn_hue(changed, uniform(images, generator, -strength / 2, strength / 2))
    return changed.clamp(0, 1)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Images (B, 3, H, W) with their colours rotated about the grey axis by `turns` (B,) of a circle; not clamped."""
    angle = per_image(2 * math.pi * turns, images)
    grey = images.mean(1, keepdim=True)
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3): the cross product with it is a difference of channels.
    across = (images.roll(1, 1) - images.roll(-1, 1)) / math.sqrt(3)
    return grey + (images - grey) * angle.cos() + across * angle.sin()
