"""The detector COBRA deploys: a backbone with a classification head, a projection and a bank of training normals."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from assay.shelves import Item
from assay.units import Count, NonNegative


class ScoreWeights(BaseModel):
    """What the score is made of: the head's logit, the distance to the k nearest normals, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: NonNegative = 1.0
    neighbours: NonNegative = 1.0
    k: Count = 3


class HeadAndNeighbours(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,), higher is more anomalous.

    score = head * z(logit) + neighbours * z(mean cosine distance to the k nearest training normals); z puts both on
    the scale of the training normals (mean 0, deviation 1), so that the weights compare like with like.
    Source: COBRA (ICLR 2025) and CSI (Tack et al. 2020), score from head and nearest neighbour.
    """

    FITTED: ClassVar[frozenset[str]] = frozenset({"bank", "location", "scale"})
    bank: Tensor
    location: Tensor
    scale: Tensor

    def __init__(self, backbone: Item, channels: int, weights: ScoreWeights) -> None:
        super().__init__()
        self.weights = weights
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        features: int = self.backbone.features
        self.head = nn.Linear(features, 1)
        self.projection = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, 64))
        self.register_buffer("bank", torch.zeros(1, features))
        self.register_buffer("location", torch.zeros(2))
        self.register_buffer("scale", torch.ones(2))

    def logits(self, images: Tensor) -> Tensor:
        """(B,) logit of being anomalous."""
        logits: Tensor = self.head(self.backbone(images)).squeeze(1)
        return logits

    def embeddings(self, images: Tensor) -> Tensor:
        """(B, 64) unit vectors for the contrastive losses."""
        return F.normalize(self.projection(self.backbone(images)), dim=1)

    def parts(self, images: Tensor) -> Tensor:
        """(B, 2) the head's logit and the mean cosine distance to the k nearest rows of the bank."""
        features = self.backbone(images)
        similarity = F.normalize(features, dim=1) @ self.bank.T
        nearest = similarity.topk(min(self.weights.k, len(self.bank)), dim=1).values
        return torch.stack([self.head(features).squeeze(1), 1 - nearest.mean(dim=1)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        parts = (self.parts(images) - self.location) / self.scale
        return self.weights.head * parts[:, 0] + self.weights.neighbours * parts[:, 1]

    @torch.no_grad()
    def fit(self, normals: Tensor, batch: int = 128) -> None:
        """Fill the bank with the features of the train normals (N, C, H, W), and fit the scales to them.

        A normal's nearest neighbour in a bank that holds it is itself: its own row is left out when fitting.
        """
        features = torch.cat([self.backbone(part) for part in torch.split(normals, batch)])
        self.bank = F.normalize(features, dim=1)
        similarity = (self.bank @ self.bank.T).fill_diagonal_(-1)
        nearest = similarity.topk(min(self.weights.k, max(1, len(normals) - 1)), dim=1).values
        parts = torch.stack([self.head(features).squeeze(1), 1 - nearest.mean(dim=1)], dim=1)
        self.location = parts.mean(dim=0)
        self.scale = parts.std(dim=0, correction=0).clamp(min=1e-6)
