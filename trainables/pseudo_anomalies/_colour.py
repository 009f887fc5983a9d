"""Colour changes of a part of every image. All are linear in the colour: one matrix and one shift per image."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.pseudo_anomalies._draws import uniform


class Jitter(NamedTuple):
    """A change of brightness and contrast (three channels: of hue and saturation too), one per image.

    The part's own mean is the pivot of contrast. matrix: (B, C, C), for colours; lift: (B,), for the mean, to be added.
    """

    matrix: Tensor
    lift: Tensor

    def of_spots(self, image: Tensor, values: Tensor) -> Tensor:
        """Values (N, C) of a part, each of the image of its number (N,), changed, in [0, 1]."""
        sums = values.new_zeros(len(self.lift)).index_add(0, image, values.mean(1))
        mean = sums / image.bincount(minlength=len(self.lift)).clamp(min=1)
        shift = (self.lift * mean)[:, None].expand(-1, values.shape[1])
        return recoloured(values, image, self.matrix, shift).clamp(0, 1)

    def of_box(self, number: int, values: Tensor) -> Tensor:
        """Values (C, M, N) of a part of one image changed, in [0, 1]."""
        changed = (self.matrix[number] @ values.flatten(1)).view_as(values)
        return (changed + self.lift[number] * values.mean()).clamp(0, 1)


def same_colour(images: Tensor) -> Jitter:
    """No change."""
    own = torch.eye(images.shape[1], dtype=images.dtype, device=images.device)
    return Jitter(own.repeat(len(images), 1, 1), images.new_zeros(len(images)))


def jitter(images: Tensor, generator: torch.Generator, strength: float | Tensor, hue: float | None = None) -> Jitter:
    """Draws a change of colour for every image.

    strength: one, or one per image (B,), of factors U[1 - strength, 1 + strength].
    hue: it turns by U[-hue, hue] of a circle, half the strength if not given.
    """

    def factor() -> Tensor:
        return uniform(images, generator, 1 - strength, 1 + strength).to(images.dtype)

    channels = images.shape[1]
    brightness, contrast = factor(), factor()
    matrix = (brightness * contrast)[:, None, None] * torch.eye(channels, dtype=images.dtype, device=images.device)
    if channels == 3:  # neither saturation nor hue moves a shift that is grey
        most = strength / 2 if hue is None else hue
        turns = uniform(images, generator, -most, most).to(images.dtype)
        matrix = hue_matrix(turns, factor()) @ matrix
    return Jitter(matrix, brightness * (1 - contrast))


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
