"""Locally aware patch features: the features of a frozen backbone at every location and around it."""

from __future__ import annotations

import inspect
from typing import Annotated, Literal, Self, TypeAlias

import torch
from annotated_types import Ge, Le, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from assay.errors import InputError
from assay.shelves import Item

Levels: TypeAlias = Annotated[tuple[Annotated[int, Ge(1), Le(4)], ...], MinLen(1)]
"""Which of a backbone's four levels to use, 1 being the finest; the two in the middle are (2, 3)."""

Border: TypeAlias = Literal["inside", "zeros"]
"""What a neighbourhood at the border of a map averages: the locations inside alone, or zeros for those outside, too."""

NEIGHBOURHOOD = 3
"""Side of the square of locations over which a feature is averaged."""
PROBE_SIDE = 32
"""Side of the image on which features are counted, unless the backbone states a `probe_side` of its own."""


class PatchFeatures(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> features (B, P, F) of P locations, F being `features`; always frozen.

    Each level is averaged over 3 x 3 locations, resized to the finest one and concatenated with the others.
    Source: Roth et al. 2022 (PatchCore), section 3.1. Unlike in its code, levels are not brought to a common width.
    Raises InputError for a backbone without a method `levels(images)`, or with fewer levels than are asked for.
    """

    def __init__(self, backbone: Item, channels: int, levels: Levels, border: Border = "inside") -> None:
        super().__init__()
        self.levels, self.border = sorted(set(levels)), border
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        if not hasattr(self.backbone, "levels"):
            raise InputError(f"backbone '{backbone.name}' has no method `levels` returning four feature maps")
        # A backbone that takes `last` computes nothing beyond that level.
        stops = "last" in inspect.signature(self.backbone.levels).parameters
        self.until = {"last": self.levels[-1]} if stops else {}
        self.eval().requires_grad_(False)
        side = getattr(self.backbone, "probe_side", PROBE_SIDE)
        with torch.no_grad():
            images = torch.zeros(1, channels, side, side)
            count = len(self.backbone.levels(images, **self.until))
            if count < self.levels[-1]:
                raise InputError(f"backbone '{backbone.name}' has {count} levels; level {self.levels[-1]} is asked for")
            self.features: int = self(images).shape[2]

    def train(self, mode: bool = True) -> Self:
        """Always eval mode: running statistics must not change."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, P, F) of the locations, row by row."""
        return self.maps(images).flatten(2).transpose(1, 2)

    def maps(self, images: Tensor) -> Tensor:
        """Features (B, F, h, w) of the locations."""
        maps = self.backbone.levels(images, **self.until)
        chosen = [maps[level - 1] for level in self.levels]
        size, zeros = chosen[0].shape[-2:], self.border == "zeros"
        around = [F.avg_pool2d(one, NEIGHBOURHOOD, 1, 1, count_include_pad=zeros) for one in chosen]
        return torch.cat([F.interpolate(one, size, mode="bilinear") for one in around], dim=1)
