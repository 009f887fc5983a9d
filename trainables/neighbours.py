"""Neighbours: distance to the k nearest training normals on frozen features. No training; the standard baseline.

Source: deep nearest neighbours (Bergman, Cohen and Hoshen 2020, "Deep Nearest Neighbor Anomaly Detection").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Norm, TrainingData
from assay.fitted import Fitted
from assay.shelves import Item, Shelf
from assay.units import Count
from trainables._angle_bound import pixel_bounds
from trainables._bank import Banked
from trainables._radius import BALLS
from trainables.backbones.pixels import Pixels


class NeighbourBank(Banked):
    """Images (B, C, H, W) in [0, 1] -> mean distance (B,) to the k nearest rows of the bank."""

    CERTIFIES: tuple[Norm, ...]

    def __init__(self, backbone: Item, channels: int, k: int, distance: str) -> None:
        super().__init__()
        self.k, self.distance = k, distance
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        self.register_buffer("bank", torch.zeros(1, self.backbone.features))
        self.CERTIFIES = BALLS if isinstance(self.backbone, Pixels) and distance == "cosine" else ()

    def features(self, images: Tensor) -> Tensor:
        """(B, F) features, of unit length for the cosine distance."""
        features: Tensor = self.backbone(images)
        return F.normalize(features, dim=1) if self.distance == "cosine" else features

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_with(images, self._nearest)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the distances (B, N) in place of the mean over the k nearest."""
        features = self.features(images)
        if self.distance == "cosine":
            return pool(1 - features @ self.bank.T)
        # Not via a matrix product: its rounding makes distances of near rows wrong and their gradient NaN.
        return pool(torch.cdist(features, self.bank, compute_mode="donot_use_mm_for_euclid_dist"))

    def _nearest(self, distances: Tensor) -> Tensor:
        return distances.topk(min(self.k, len(self.bank)), dim=1, largest=False).values.mean(dim=1)

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in the balls of R radii: a proof by angles, for the norms in CERTIFIES."""
        bank = F.normalize(self.bank.double(), dim=1)
        return pixel_bounds(images, norm, radii, self.backbone.side, bank, self.k)


class Neighbours(Fitted):
    """Distance to the k nearest train normals on frozen features; the bank is filled, nothing is trained."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "efficientnet_lite0", {}),
        k: Count = 3,
        distance: Literal["euclidean", "cosine"] = "euclidean",
    ) -> None:
        """Fill the bank with all train normals. k: number of neighbours whose distances are averaged."""
        normals = torch.from_numpy(data.train.pixels.copy()).float().div_(255)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(seed)
            self.network = NeighbourBank(backbone, normals.shape[1], k, distance).to(device).eval()
            self.network.requires_grad_(False)
            parts = [self.network.features(part.to(device)) for part in torch.split(normals, 64)]
        self.network.bank = torch.cat(parts)

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], backbone: Item, k: int, distance: str
    ) -> nn.Module:
        """A detector of the same shape with an empty bank."""
        return NeighbourBank(backbone, channels, k, distance)
