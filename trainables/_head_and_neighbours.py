"""The detector COBRA deploys: a backbone with a classification head, a projection and a bank of training normals."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from assay.shelves import Item
from assay.units import Count, NonNegative
from trainables.backbones.pixels import Pixels

SIDE = 32  # of the pixels' bank


class ScoreWeights(BaseModel):
    """What the score is made of: the head's logit, and the distance to the k nearest normals in features and in pixels.

    pixels is no part of COBRA. It is offered because the pixels themselves are hard to attack (see the backbone
    `pixels`): what the network adds to them is what it has earned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: NonNegative = 1.0
    neighbours: NonNegative = 1.0
    pixels: NonNegative = 0.0
    k: Count = 3


class HeadAndNeighbours(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,), higher is more anomalous.

    score = head * z(logit) + neighbours * z(distance in features) + pixels * z(distance in pixels), a distance being
    the mean cosine distance to the k nearest training normals; z puts each on the scale of the training normals
    (mean 0, deviation 1), so that the weights compare like with like.
    Source: COBRA (ICLR 2025) and CSI (Tack et al. 2020), score from head and nearest neighbour.
    """

    FITTED: ClassVar[frozenset[str]] = frozenset({"bank", "pixel_bank", "location", "scale"})
    bank: Tensor
    pixel_bank: Tensor
    location: Tensor
    scale: Tensor

    def __init__(self, backbone: Item, channels: int, weights: ScoreWeights) -> None:
        super().__init__()
        self.weights = weights
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        self.pixels = Pixels(channels, SIDE)
        features: int = self.backbone.features
        self.head = nn.Linear(features, 1)
        self.projection = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, 64))
        self.register_buffer("bank", torch.zeros(1, features))
        self.register_buffer("pixel_bank", torch.zeros(1, self.pixels.features))
        self.register_buffer("location", torch.zeros(3))
        self.register_buffer("scale", torch.ones(3))

    def logits(self, images: Tensor) -> Tensor:
        """(B,) logit of being anomalous."""
        logits: Tensor = self.head(self.backbone(images)).squeeze(1)
        return logits

    def embeddings(self, images: Tensor) -> Tensor:
        """(B, 64) unit vectors for the contrastive losses."""
        return F.normalize(self.projection(self.backbone(images)), dim=1)

    def parts(self, images: Tensor, pool: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, 3) the head's logit, and the distances to the nearest normals in features and in pixels.

        pool: of the distances (B, N) to all normals, in place of the mean over the k nearest.
        """
        pool = pool or self._nearest
        features, pixels = self.backbone(images), self.pixels(images)
        near = pool(1 - F.normalize(features, dim=1) @ self.bank.T)
        near_in_pixels = pool(1 - F.normalize(pixels, dim=1) @ self.pixel_bank.T)
        return torch.stack([self.head(features).squeeze(1), near, near_in_pixels], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_with(images, self._nearest)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the distances (B, N) in place of the mean over the k nearest."""
        parts = (self.parts(images, pool) - self.location) / self.scale
        weights = self.weights
        return weights.head * parts[:, 0] + weights.neighbours * parts[:, 1] + weights.pixels * parts[:, 2]

    def _nearest(self, distances: Tensor) -> Tensor:
        """Mean (B,) of the k smallest of (B, N) distances."""
        return distances.topk(min(self.weights.k, distances.shape[1]), dim=1, largest=False).values.mean(dim=1)

    @torch.no_grad()
    def fit(self, normals: Tensor, batch: int = 128) -> None:
        """Fill the banks with the train normals (N, C, H, W), and fit the scales to them.

        A normal's nearest neighbour in a bank that holds it is itself: its own row is left out when fitting.
        """
        features = torch.cat([self.backbone(part) for part in torch.split(normals, batch)])
        self.bank = F.normalize(features, dim=1)
        self.pixel_bank = F.normalize(self.pixels(normals), dim=1)
        parts = [self.head(features).squeeze(1), self._nearest(1 - others(self.bank))]
        scores = torch.stack([*parts, self._nearest(1 - others(self.pixel_bank))], dim=1)
        self.location = scores.mean(dim=0)
        self.scale = scores.std(dim=0, correction=0).clamp(min=1e-6)


def others(bank: Tensor) -> Tensor:
    """Similarity (N, N - 1) of every unit row (N, D) to the others; to itself where there is no other."""
    count = len(bank)
    if count == 1:
        return bank @ bank.T
    apart = ~torch.eye(count, dtype=torch.bool, device=bank.device)
    return (bank @ bank.T)[apart].view(count, count - 1)
