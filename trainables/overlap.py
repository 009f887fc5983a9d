"""Overlap: how far the shape in an image overlaps with the shapes of its nearest train images, with a proof for linf.

Source: the dissimilarity of Bray and Curtis (1957), which is 1 less Dice's overlap (1945), on pixels after a step.

What is brighter than a level counts as the shape, so small changes of pixels move only its rim. The proof is by
intervals: at the ends of an L-infinity ball every pixel is as dark or as bright as it can get, the step and the
shrinking keep that order, and against one train image the worst value of a pixel does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Norm, TrainingData
from assay.fitted import Fitted
from assay.units import Count
from trainables._bank import Banked

NUMBERS = 2**24
"""Numbers held at once in a proof, of images x rows of the bank x pixels."""


class OverlapBank(Banked):
    """Images (B, C, H, W) in [0, 1] -> mean dissimilarity (B,) in [0, 1] to the k nearest rows of the bank."""

    CERTIFIES: tuple[Norm, ...] = ("linf",)

    def __init__(self, channels: int, side: int, level: float, contrast: float, dark: bool, k: int) -> None:
        super().__init__()
        self.side, self.level, self.contrast, self.dark, self.k = side, level, contrast, dark, k
        self.register_buffer("bank", torch.zeros(1, channels * side * side))

    def shape(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> (B, C * side * side) in [0, 1]: how much of each square is of the shape."""
        height = self.level - images if self.dark else images - self.level
        return F.adaptive_avg_pool2d((height * self.contrast + 0.5).clamp(0, 1), self.side).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_with(images, self._nearest)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the dissimilarities (B, N) in place of the mean over the k nearest."""
        shape = self.shape(images)
        if torch.compiler.is_exporting():  # ONNX has no operator for it
            difference = (shape[:, None] - self.bank).abs().sum(2)
        else:
            difference = torch.cdist(shape, self.bank, p=1)
        return pool(_share(difference, shape.sum(1)[:, None] + self.bank.sum(1)))

    def _nearest(self, dissimilarities: Tensor) -> Tensor:
        return dissimilarities.topk(min(self.k, len(self.bank)), dim=1, largest=False).values.mean(dim=1)

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in the linf balls of R radii, by intervals of every pixel of the shape.

        They are widened by the rounding error of float32 sums over as many pixels as a row has.
        """
        rounding = self.bank.shape[1] * torch.finfo(torch.float32).eps
        bank, exact = self.bank.double(), images.double()
        at_once = max(1, NUMBERS // bank.numel())
        lower, upper = [], []
        for radius in radii.to(exact):
            ends = [self.shape(shifted.clamp(0, 1)) for shifted in (exact - radius, exact + radius)]
            low, high = torch.minimum(*ends), torch.maximum(*ends)
            pairs = [
                _bounds(*part, bank) for part in zip(torch.split(low, at_once), torch.split(high, at_once), strict=True)
            ]
            least, most = (self._nearest(torch.cat(parts)) for parts in zip(*pairs, strict=True))
            lower.append(least - rounding)
            upper.append(most.clamp(max=1) + rounding)
        return torch.stack(lower, dim=1), torch.stack(upper, dim=1)


class Overlap(Fitted):
    """How far shapes overlap with those of the nearest train normals; the bank is filled, nothing is trained."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        side: Annotated[int, Ge(2), Le(256)] = 14,
        level: Annotated[float, Gt(0), Lt(1)] = 0.2,
        contrast: Annotated[float, Ge(1), Le(64)] = 4.0,
        dark: bool = False,
        k: Count = 3,
    ) -> None:
        """Fill the bank with all train normals.

        side: of the shape after shrinking, at most that of the images. level: of brightness, at which half of a pixel
        counts. contrast: how steep the step is; from level - 0.5 / contrast to level + 0.5 / contrast it rises from 0
        to 1, so keep both inside of 0 to 1. dark: whether the shape is what is darker. k: neighbours averaged.
        """
        pixels = torch.from_numpy(data.train.pixels.copy()).float().div_(255)
        side = min(side, *pixels.shape[2:])
        self.network = OverlapBank(pixels.shape[1], side, level, contrast, dark, k).to(device).eval()
        with torch.no_grad():
            self.network.bank = torch.cat([self.network.shape(part.to(device)) for part in torch.split(pixels, 256)])

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int | Sequence[int],
        side: int,
        level: float,
        contrast: float,
        dark: bool,
        k: int,
    ) -> nn.Module:
        """A detector of the same shape with an empty bank."""
        sides = image_size if isinstance(image_size, Sequence) else [image_size]
        return OverlapBank(channels, min(side, *sides), level, contrast, dark, k)


def _share(difference: Tensor, total: Tensor) -> Tensor:
    """The dissimilarity; 0 of two empty shapes."""
    return difference / total.clamp_min(torch.finfo(total.dtype).tiny)


def _bounds(low: Tensor, high: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds (B, N), (B, N) of the dissimilarity to rows (N, F) of shapes between low and high, (B, F).

    A pixel above that of the row raises difference and sum alike, and so the share; one below lowers the difference. So
    the nearest shape has every pixel as near as it can be: exact. The farthest has each at one end; where the row's
    pixel lies inside the interval both ends are counted at their worst, which is sound.
    """
    low, high = low[:, None], high[:, None]
    nearest = torch.minimum(torch.maximum(bank, low), high)
    least = _share((nearest - bank).abs().sum(2), nearest.sum(2) + bank.sum(1))
    apart = torch.maximum((bank - low).abs(), (high - bank).abs()).sum(2)
    least_sum = torch.where(bank < low, high, low).sum(2) + bank.sum(1)
    return least, _share(apart, least_sum)
