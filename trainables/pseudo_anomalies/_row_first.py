"""Blocks (K, M, C, N) with their rows before their channels: a product along either axis is one for all channels."""

from __future__ import annotations

import torch
from torch import Tensor


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
    lines = images.transpose(1, 2).unfold(3, columns.shape[2], 1)  # (B, H, C, ., count)
    upper, lower = (lines[image[:, None], row, :, left[:, None]] for row in (down.long(), down.ceil().long()))
    read = upper.lerp(lower, (down - down.floor()).to(images.dtype)[:, :, None, None])
    return along_columns(read, columns.mT)


def interpolation(places: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights (K, N, count) of `count` pixels in a row from the first (K,) on that give what is at places (K, N)."""
    first = places.amin(1).long()
    count = int((places.amax(1).ceil().long() - first).amax()) + 1
    start = first.clamp(max=length - count)
    pixel = start[:, None, None] + torch.arange(count, device=places.device)
    return start, (1 - (places[:, :, None] - pixel).abs()).clamp(min=0).to(dtype)
