"""A small residual network for images of 32 to 64 pixels, cheap on a CPU."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import nn

from trainables.backbones._resnet import ResNet


def small_resnet(
    *,
    channels: int,
    width: Annotated[int, Ge(4), Le(128)] = 16,
    blocks: Annotated[int, Ge(1), Le(8)] = 1,
    shrink: Annotated[int, Ge(1), Le(8)] = 2,
    standardise: bool = True,
) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, 8 * width); about 0.3 million parameters at width 16, one block per stage.

    shrink: pixels per side averaged into one before the first convolution; more is cheaper but loses detail.
    standardise: by each image's own brightness and contrast instead of constants.
    """
    return ResNet(channels, width=width, blocks=blocks, stem="cifar", shrink=shrink, standardise=standardise)
