"""A network whose score only rises as pixels move in the direction of defects, by non-negative weights throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Monotonicity
from assay.data.images import height_and_width

CLAIMS: dict[str, Monotonicity] = {"dark": "falling", "bright": "rising", "both": "mixed"}
SIGNS = {"dark": (-1.0,), "bright": (1.0,), "both": (-1.0, 1.0)}
SOFTNESS = 0.003
"""Of the maxima over places, in pixel scale: gradients, of training and of attacks, then see more than one place."""
WEIGHTS = (1.0, 0.5)
"""With which a pixel, and its contrast, count before training."""
FIRST_SHARE = -3.0
"""Logarithm of the weight of the convolutions before training."""
STEEPNESS = 40.0
"""Of the first softplus: what lies a grey level below the usual still counts, what lies ten below does not."""


class PositiveConvolution(nn.Module):
    """A convolution whose weights are exponentials, above 0, so that no output falls as an input rises."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        start = torch.randn(outputs, inputs, size, size) * 0.5 - math.log(inputs * size * size)  # they sum to about 1
        self.logarithms, self.bias = nn.Parameter(start), nn.Parameter(torch.zeros(outputs))
        self.stride, self.margin = stride, size // 2

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, h, w); the border is repeated outwards."""
        padded = F.pad(maps, [self.margin] * 4, mode="replicate") if self.margin else maps
        return F.conv2d(padded, self.logarithms.exp(), self.bias, self.stride)


class MonotoneNetwork(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> score (B,), higher is more anomalous; `contracts.Monotone`.

    What it sees of a pixel, for each direction of the polarity and each channel: how far it lies in that direction, and
    how far beyond the mean of its surroundings; both above what is usual at its place among the train images. Each is
    shifted and scaled by place, and its largest counts; convolutions over all of them add shapes at several scales.
    """

    usual: Tensor
    next_usual: Tensor
    down: Tensor
    along: Tensor

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        *,
        polarity: str,
        surroundings: float,
        width: int,
        depth: int,
    ) -> None:
        super().__init__()
        height, across = height_and_width(image_size)
        self.signs = SIGNS[polarity]
        self.window = 2 * round(surroundings * min(height, across) / 2) + 1 if surroundings else 0
        self.MONOTONE: Monotonicity = "mixed" if self.window else CLAIMS[polarity]
        kinds = 2 if self.window else 1
        self.maps = kinds * len(self.signs) * channels
        places = torch.zeros(self.maps, height, across)
        self.register_buffer("usual", places.clone())
        self.register_buffer("next_usual", places.clone())
        if self.window:
            self.register_buffer("down", running_mean(height, self.window), persistent=False)
            self.register_buffer("along", running_mean(across, self.window), persistent=False)
        self.shift, self.log_scale = nn.Parameter(places.clone()), nn.Parameter(places.clone())
        weights = torch.tensor(WEIGHTS[:kinds]).log()
        self.log_weight = nn.Parameter(weights.repeat_interleave(self.maps // kinds))
        sizes = [self.maps, *[width] * depth]
        self.convolutions = nn.ModuleList(
            PositiveConvolution(inputs, width, 3, 1 + (at > 0)) for at, inputs in enumerate(sizes[:depth])
        )
        self.heads = nn.ModuleList(PositiveConvolution(width, 1, 1) for _ in range(depth))
        self.log_share = nn.Parameter(torch.full((depth,), FIRST_SHARE))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return self.decomposed(images, images)

    def decomposed(self, rising: Tensor, falling: Tensor, usual: Tensor | None = None) -> Tensor:
        """As of `contracts.Monotone`; usual: of each image's own, (B, maps, H, W), in training."""
        beyond = self.seen(rising, falling) - (self.usual if usual is None else usual)
        worst = soft_maximum((beyond - self.shift) * self.log_scale.exp())
        score = (worst * self.log_weight.exp()).sum(dim=1)
        if len(self.convolutions):
            maps = F.softplus(F.max_pool2d(beyond, 2) * STEEPNESS) / 4
        for convolution, head, share in zip(self.convolutions, self.heads, self.log_share, strict=True):
            maps = F.softplus(4 * convolution(maps) - 2) / 2
            score = score + share.exp() * soft_maximum(head(maps))[:, 0]
        return score

    def seen(self, rising: Tensor, falling: Tensor) -> Tensor:
        """(B, maps, H, W): each rises with every pixel of `rising` and falls with every one of `falling`."""
        found, contrasts = [], []
        for sign in self.signs:
            towards, away = (rising, falling) if sign > 0 else (falling, rising)
            found.append(sign * towards)
            if self.window:
                contrasts.append(sign * (towards - self.down @ away @ self.along.T))
        return torch.cat([*found, *contrasts], dim=1)


def soft_maximum(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C): the largest of each map, nearly; it rises with each value, by at most as much."""
    return SOFTNESS * (maps.flatten(2) / SOFTNESS).logsumexp(2)


def running_mean(side: int, window: int) -> Tensor:
    """(side, side): the matrix of the mean of that many values around each, the border repeated outwards."""
    places = torch.arange(side)
    near = (places[:, None] + torch.arange(window) - window // 2).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, near, torch.full(near.shape, 1 / window))
