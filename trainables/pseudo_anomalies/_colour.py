"""Colour changes of a part of every image, all of them linear: one matrix and one shift per image."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import uniform


class Jitter(NamedTuple):
    """One change of brightness and contrast per image; with three channels also of hue and saturation.

    Contrast is relative to the part's own mean. matrix: (B, C, C), applied to the colours; lift: (B,), times the mean,
    is added.
    """

    matrix: Tensor
    lift: Tensor

    def of_spots(self, image: Tensor, values: Tensor) -> Tensor:
        """Recolour values (N, C), each from the image with that number (N,); the result is in [0, 1]."""
        sums = values.new_zeros(len(self.lift)).index_add(0, image, values.mean(1))
        mean = sums / image.bincount(minlength=len(self.lift)).clamp(min=1)
        shift = (self.lift * mean)[:, None].expand(-1, values.shape[1])
        return recoloured(values, image, self.matrix, shift).clamp(0, 1)

    def of_box(self, number: int, values: Tensor) -> Tensor:
        """Recolour values (C, M, N), a part of the image with that number; the result is in [0, 1]."""
        changed = (self.matrix[number] @ values.flatten(1)).view_as(values)
        return (changed + self.lift[number] * values.mean()).clamp(0, 1)


def same_colour(images: Tensor) -> Jitter:
    """The jitter that changes nothing."""
    own = torch.eye(images.shape[1], dtype=images.dtype, device=images.device)
    return Jitter(own.repeat(len(images), 1, 1), images.new_zeros(len(images)))


def jitter(images: Tensor, generator: torch.Generator, strength: float | Tensor, hue: float | None = None) -> Jitter:
    """Draw a change of colour for every image.

    strength: a number, or one per image (B,); brightness, contrast and saturation are scaled by
    U[1 - strength, 1 + strength]. hue: turned by U[-hue, hue] of a full circle; half the strength by default.
    """

    def factor() -> Tensor:
        return uniform(images, generator, 1 - strength, 1 + strength).to(images.dtype)

    channels = images.shape[1]
    brightness, contrast = factor(), factor()
    matrix = (brightness * contrast)[:, None, None] * torch.eye(channels, dtype=images.dtype, device=images.device)
    if channels == 3:  # hue and saturation leave a grey shift alone
        most = strength / 2 if hue is None else hue
        turns = uniform(images, generator, -most, most).to(images.dtype)
        matrix = hue_matrix(turns, factor()) @ matrix
    return Jitter(matrix, brightness * (1 - contrast))


def hue_matrix(turns: Tensor, saturation: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that rotate colours about the grey axis by `turns` (B,) of a circle and scale saturation."""
    angle = 2 * math.pi * turns[:, None, None]
    own = torch.eye(3, dtype=turns.dtype, device=turns.device)
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3); the cross product with it is a difference of channels.
    across = (own.roll(1, 0) - own.roll(-1, 0)) / math.sqrt(3)
    return 1 / 3 + saturation[:, None, None] * (angle.cos() * (own - 1 / 3) + angle.sin() * across)


def recoloured(values: Tensor, image: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Values (N, C), each multiplied by the matrix (B, C, C) of its image and moved by its shift (B, C)."""
    planes = values.unbind(1)

    def plane(row: int) -> Tensor:
        changed = shift[:, row].index_select(0, image)
        for column, before in enumerate(planes):  # indexing a list is far faster than indexing rows of three
            changed = changed.addcmul(matrix[:, row, column].index_select(0, image), before)
        return changed

    return torch.stack([plane(row) for row in range(len(planes))]).T
