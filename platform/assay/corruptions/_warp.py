"""Warping: every output pixel is read from somewhere in the image, which is reflected at its borders."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row (1, H, 1) and column (1, 1, W) of every pixel, relative to the image centre."""
    height, width = images.shape[-2:]
    rows = torch.arange(height).to(images) - (height - 1) / 2
    columns = torch.arange(width).to(images) - (width - 1) / 2
    return rows[None, :, None], columns[None, None, :]


def read(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (B, C, H, W) sampled bilinearly at rows and columns (B, H, W), relative to the image centre."""
    batch, _, height, width = images.shape
    across, down = ((2 * at / length).expand(batch, height, width) for at, length in ((columns, width), (rows, height)))
    grid = torch.stack([across, down], dim=-1)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
