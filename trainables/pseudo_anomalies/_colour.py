"""Colour changes of a part of every image. All are linear in the colour: one matrix and one shift per image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import uniform


def jitter(
    images: Tensor,
    image: Tensor,
    values: Tensor,
    strength: float | Tensor,
    generator: torch.Generator,
    hue: float | None = None,
) -> Tensor:
    """Values (N, C) of a part, brightness and contrast (three channels: hue and saturation too) changed, in [0, 1].

    The part's own mean is the pivot of contrast.
    image: the image that each of the values belongs to (N,); every image gets its own factors.
    strength: one, or one per image (B,), of factors U[1 - strength, 1 + strength].
    hue: it turns by U[-hue, hue] of a circle, half the strength if not given.
    """

    def factor() -> Tensor:
        return uniform(images, generator, 1 - strength, 1 + strength).to(values.dtype)

    channels = values.shape[1]
    sums = torch.zeros(len(images), dtype=values.dtype, device=values.device).index_add(0, image, values.mean(1))
    mean = sums / image.bincount(minlength=len(images)).clamp(min=1)
    brightness, contrast = factor(), factor()
    matrix = (brightness * contrast)[:, None, None] * torch.eye(channels, dtype=values.dtype, device=values.device)
    shift = (brightness * mean * (1 - contrast))[:, None].expand(-1, channels)
    if channels == 3:  # neither saturation nor hue moves a shift that is grey
        most = strength / 2 if hue is None else hue
        turns = uniform(images, generator, -most, most).to(values.dtype)
        matrix = hue_matrix(turns, factor()) @ matrix
    return recoloured(values, image, matrix, shift).clamp(0, 1)


def hue_matrix(turns: Tensor, saturation: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that turn colours about the grey axis by `turns` (B,) of a circle and scale them off it."""
    angle = 2 * math.pi * turns[:, None, None]
    own = torch.eye(3, dtype=turns.dtype, device=turns.device)
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3): the cross product with it is a difference of channels.
    across = (own.roll(1, 0) - own.roll(-1, 0)) / math.sqrt(3)
    return 1 / 3 + saturation[:, None, None] * (angle.cos() * (own - 1 / 3) + angle.sin() * across)


def recoloured(values: Tensor, image: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Values (N, C) times the matrix (B, C, C) of their image, plus its shift (B, C)."""
    planes = values.unbind(1)

    def plane(row: int) -> Tensor:
        changed = shift[:, row].index_select(0, image)
        for column, before in enumerate(planes):  # lists of single numbers are looked up far faster than rows of three
            changed = changed.addcmul(matrix[:, row, column].index_select(0, image), before)
        return changed

    return torch.stack([plane(row) for row in range(len(planes))]).T
