"""A plain convolutional network without batch norm, small enough that interval bounds of its features can be trained.

Source: interval bound propagation (Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation for Training
Verifiably Robust Models", section 3); the initial weights are those of Shi et al. 2021 ("Fast Certified Robust Training
with Short Warmup", section 3.1), with which intervals neither vanish nor explode from layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (1, 2, 1, 2, 1)


class PlainCnn(nn.Module):
    """See `plain_cnn`."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [channels, width, width, 2 * width, 2 * width, 4 * width]
        self.features = widths[-1]
        shapes = zip(widths, widths[1:], STRIDES, strict=False)
        layers = [nn.Conv2d(inputs, outputs, 3, stride, padding=1) for inputs, outputs, stride in shapes]
        for layer in layers:
            nn.init.normal_(layer.weight, std=math.sqrt(2 * math.pi) / layer.weight[0].numel())
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.layers: Iterable[nn.Conv2d] = nn.ModuleList(layers)  # type: ignore[assignment]

    def levels(self, images: Tensor) -> list[Tensor]:
        """Four maps, finest first, each of half the side: those of every second layer, and the last one once more."""
        maps = self._maps(images)[::2]
        return [*maps, F.max_pool2d(maps[-1], 2)]

    def _maps(self, images: Tensor) -> list[Tensor]:
        x, maps = _scaled(images), []
        for layer in self.layers:
            x = F.relu(layer(x))
            maps.append(x)
        return maps

    def maps(self, images: Tensor) -> Tensor:
        """(B, features, 1, 1): a single location, the whole image."""
        return self.forward(images)[:, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> (B, features): the highest value of each feature over all places."""
        return self._maps(images)[-1].amax(dim=(2, 3))

    def bounds(self, images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Bounds (B, features), (B, features) of the features of all images within epsilon in linf, and in [0, 1]."""
        low, high = (_scaled((images + sign * epsilon).clamp(0, 1)) for sign in (-1, 1))
        for layer in self.layers:
            middle = layer((low + high) / 2)
            radius = F.conv2d((high - low) / 2, layer.weight.abs(), None, layer.stride, layer.padding)
            low, high = F.relu(middle - radius), F.relu(middle + radius)
        return low.amax(dim=(2, 3)), high.amax(dim=(2, 3))


def _scaled(images: Tensor) -> Tensor:
    return (images - 0.5) * 4


def plain_cnn(*, channels: int, width: Annotated[int, Ge(4), Le(128)] = 16) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, 4 * width); about 37,000 parameters at width 16.

    Five convolutions with ReLU, two of them with stride 2, and the maximum over places. What is proven of its features
    is what `loss.certified` of `cobra` trains.
    """
    return PlainCnn(channels, width)
