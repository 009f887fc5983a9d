"""Colour helpers for corruptions: luma, and a colour converted for grey images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601)."""


def grey(images: Tensor) -> Tensor:
    """The luma (B, 1, H, W) of images (B, C, H, W) with 1 or 3 channels."""
    return images if images.shape[1] == 1 else (images * colour(images, LUMA)).sum(1, keepdim=True)


def colour(images: Tensor, red_green_blue: Sequence[float]) -> Tensor:
    """A colour (1, 3, 1, 1), or its luma (1, 1, 1, 1) if the images are grey."""
    values = torch.tensor(red_green_blue).to(images)
    if images.shape[1] == 1:
        values = (values * torch.tensor(LUMA).to(images)).sum()[None]
    return values[None, :, None, None]
