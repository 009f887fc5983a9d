"""Pixels: the image itself, standardised and shrunk, as a feature vector. Nothing is learned.

The simplest robust feature: a small change of the pixels is a small change of the features, so the distance between two
feature vectors moves by at most epsilon times the square root of their length.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.backbones._normalise import Standardise


class Pixels(nn.Module):
    """See `pixels`."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side, self.features = side, channels * side * side
        self.standardise = Standardise()

    def levels(self, images: Tensor) -> list[Tensor]:
        """Four maps, finest first, whose locations are squares of 2, 4, 8 and 16 pixels of the shrunk image."""
        x, levels = self.standardise(images), []
        for square in (2, 4, 8, 16):
            side = max(1, self.side // square) * square
            levels.append(F.pixel_unshuffle(F.adaptive_avg_pool2d(x, side), square))
        return levels

    def maps(self, images: Tensor) -> Tensor:
        """(B, features, 1, 1): a single location, the whole image."""
        return self.forward(images)[:, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> (B, channels * side * side)."""
        return F.adaptive_avg_pool2d(self.standardise(images), self.side).flatten(1)


def pixels(*, channels: int, side: Annotated[int, Ge(4), Le(256)] = 32) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, channels * side * side); side: height and width after shrinking."""
    return Pixels(channels, side)
