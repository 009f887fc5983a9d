"""Blocks (K, M, C, N) with their rows before their channels: a product along either axis is one for all channels."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.pseudo_anomalies._windows import by_pixel, crossings


def row_first(values: Tensor) -> Tensor:
    """(K, C, M, N) -> (K, M, C, N)."""
    return values.transpose(1, 2).contiguous()


def along_rows(matrix: Tensor, values: Tensor) -> Tensor:
    """A matrix (K, L, M) times values (K, M, C, N): (K, L, C, N)."""
    return (matrix @ values.flatten(2)).view(*matrix.shape[:2], *values.shape[2:])


def along_columns(values: Tensor, matrix: Tensor) -> Tensor:
    """Values (K, M, C, N) times a matrix (K, N, L): (K, M, C, L)."""
    return (values.flatten(1, 2) @ matrix).view(*values.shape[:3], matrix.shape[2])


def lattice(images: Tensor, image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Values (K, M, C, N) of these images (K,) at every pair of places (K, M) and (K, N), bilinear between pixels.

    Places are rows and columns within the image.
    """
    left, columns = interpolation(across, images.shape[-1], images.dtype)
    upper, lower = (_lines(images, image, row, left, columns.shape[2]) for row in (down.long(), down.ceil().long()))
    read = upper.lerp(lower, (down - down.floor()).to(images.dtype)[:, :, None, None])
    return along_columns(read, columns.mT)


def _lines(images: Tensor, image: Tensor, rows: Tensor, left: Tensor, width: int) -> Tensor:
    """Pieces (K, M, C, width) of rows (K, M) of these images from column `left` (K,) on."""
    if by_pixel(images):
        columns = left[:, None] + torch.arange(width, device=left.device)
        return crossings(images, image, rows, columns).transpose(1, 2)
    return images.transpose(1, 2).unfold(3, width, 1)[image[:, None], rows, :, left[:, None]]


def interpolation(places: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights (K, N, count) of `count` pixels in a row from the first (K,) on that give what is at places (K, N)."""
    first = places.amin(1).long()
    count = int((places.amax(1).ceil().long() - first).amax()) + 1
    start = first.clamp(max=length - count)
    pixel = start[:, None, None] + torch.arange(count, device=places.device)
    return start, (1 - (places[:, :, None] - pixel).abs()).clamp(min=0).to(dtype)
