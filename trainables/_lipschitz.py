"""A network whose score moves at most as far as the image in l2: orthogonal layers, sorted pairs, a unit readout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Norm
from assay.data.images import height_and_width
from trainables._radius import BALLS, in_l2

ROUNDING = 1e-4
"""How far bounds are widened, as a share of the radius, and in score: layers are orthogonal up to float32 rounding."""


class Orthogonal(nn.Module):
    """A 1 x 1 convolution by an orthogonal matrix, the Cayley transform (I - A) (I + A)^-1 of a skew A, and a bias.

    In training the matrix is computed from the free parameters; a detector keeps it as a buffer (`settle`).
    """

    matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.randn(channels, channels) / channels**0.5)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("matrix", torch.eye(channels))

    def current(self) -> Tensor:
        """The orthogonal matrix of the free parameters."""
        skew, one = self.free - self.free.T, torch.eye(len(self.free), device=self.free.device)
        matrix: Tensor = torch.linalg.solve(one + skew, one - skew)
        return matrix

    @torch.no_grad()
    def settle(self) -> None:
        """Keep the matrix of the current parameters."""
        self.matrix.copy_(self.current())

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), at the same distances."""
        matrix = self.current() if self.training else self.matrix
        return F.conv2d(maps, matrix[:, :, None, None], self.bias)


class LipschitzNetwork(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> score (B,), which a change of l2 norm r moves by at most r.

    Each stage folds 2 x 2 places into channels, moves half of the channels by a place, mixes channels by an orthogonal
    matrix and sorts them in pairs (MaxMin): none of these changes a distance, or makes it longer.
    """

    CERTIFIES: tuple[Norm, ...] = BALLS

    def __init__(self, channels: int, image_size: int | Sequence[int], *, first: int, depth: int) -> None:
        super().__init__()
        height, width = height_and_width(image_size)
        self.pad = (-width % (first * 2 ** (depth - 1)), -height % (first * 2 ** (depth - 1)))
        self.folds = [first] + [2] * (depth - 1)
        sizes = [channels * first**2 * 4**stage for stage in range(depth)]
        self.stages = nn.ModuleList(Orthogonal(size) for size in sizes)
        places = (height + self.pad[1]) * (width + self.pad[0]) // (first * 2 ** (depth - 1)) ** 2
        self.readout = nn.Parameter(torch.randn(sizes[-1] * places) / (sizes[-1] * places) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        maps = F.pad(images, (0, self.pad[0], 0, self.pad[1]))
        for fold, mix in zip(self.folds, self.stages, strict=True):
            maps = F.pixel_unshuffle(maps, fold)
            half = maps.shape[1] // 2
            moved = torch.roll(maps[:, :half], 1, dims=3)
            maps = mix(torch.cat([moved, maps[:, half:]], dim=1))
            one, other = maps[:, 0::2], maps[:, 1::2]
            maps = torch.cat([torch.maximum(one, other), torch.minimum(one, other)], dim=1)
        return maps.flatten(1) @ F.normalize(self.readout, dim=0)

    def settle(self) -> None:
        """Make it ready to be a detector: every matrix is kept as it is now."""
        for stage in self.stages:
            stage.settle()  # type: ignore[operator]

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in the balls of R radii, a deterministic proof: at most the l2 radius."""
        score = self(images).double()[:, None]
        reach = in_l2(radii, norm, images)[None] * (1 + ROUNDING) + ROUNDING
        return score - reach, score + reach
