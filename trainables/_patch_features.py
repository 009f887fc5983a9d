"""Locally aware patch features: what a frozen backbone sees at every place of an image and around it."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

import torch
from annotated_types import Ge, Le, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from assay.errors import InputError
from assay.shelves import Item

Levels: TypeAlias = Annotated[tuple[Annotated[int, Ge(1), Le(4)], ...], MinLen(1)]
"""Which of a backbone's four levels, 1 the finest; the two in the middle are (2, 3)."""

NEIGHBOURHOOD = 3
"""Side of the square of places that a feature is averaged over."""


class PatchFeatures(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> features (B, P, F) of P places, F being `features`; always frozen.

    Each level is averaged over 3 x 3 places, brought to the size of the finest one and set beside the others.
    Source: Roth et al. 2022 (PatchCore), section 3.1. Levels are not brought to a common width, as its code does.
    Raises InputError for a backbone without a method `levels(images)`.
    """

    def __init__(self, backbone: Item, channels: int, levels: Levels) -> None:
        super().__init__()
        self.levels = levels
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        if not hasattr(self.backbone, "levels"):
            raise InputError(f"backbone '{backbone.name}' has no method `levels`, which gives four feature maps")
        self.eval().requires_grad_(False)
        with torch.no_grad():
            self.features: int = self(torch.zeros(1, channels, 32, 32)).shape[2]

    def train(self, mode: bool = True) -> Self:
        """Eval mode, whatever is asked for: running statistics stay as they are."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, P, F) of the places, row by row."""
        maps = self.backbone.levels(images)
        chosen = [maps[level - 1] for level in sorted(set(self.levels))]
        size = chosen[0].shape[-2:]
        around = [F.avg_pool2d(one, NEIGHBOURHOOD, 1, 1, count_include_pad=False) for one in chosen]
        beside = torch.cat([F.interpolate(one, size, mode="bilinear") for one in around], dim=1)
        return beside.flatten(2).transpose(1, 2)
