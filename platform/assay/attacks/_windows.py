"""A square window at a different position in every image."""

from __future__ import annotations

import torch
from torch import Tensor


def window(corner: Tensor, side: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The square of `side` pixels with its upper left corner at (row, column), (B, 2) integers, in every image.

    Returns a mask of its pixels (B, 1, H, W) bool, and their row (B, H, 1) and column (B, 1, W) within the square.
    """
    rows = torch.arange(height, device=corner.device).reshape(1, -1, 1) - corner[:, 0].reshape(-1, 1, 1)
    columns = torch.arange(width, device=corner.device).reshape(1, 1, -1) - corner[:, 1].reshape(-1, 1, 1)
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    return inside.unsqueeze(1), rows.clamp(0, side - 1), columns.clamp(0, side - 1)
