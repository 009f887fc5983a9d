"""Gaussian: squared Mahalanobis distance to the training normals on frozen features. No training.

Source: Rippel, Mertens and Merhof 2020, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for
Anomaly Detection", section 3; covariance by Ledoit and Wolf 2004, so that it is invertible even with few normals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.fitted import Fitted
from assay.shelves import Item, Shelf

LEAST = 1e-6
"""Smallest variance in any direction, relative to the mean variance."""


class GaussianFeatures(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> squared Mahalanobis distance (B,) of their features, per feature."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, backbone: Item, channels: int) -> None:
        super().__init__()
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        features = self.backbone.features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whitening", torch.eye(features))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous; about 1 for a normal image."""
        white = (self.backbone(images) - self.mean) @ self.whitening
        distance: Tensor = white.square().mean(dim=1)
        return distance

    @torch.no_grad()
    def fit(self, normals: Tensor, batch: int = 64) -> None:
        """Fit mean and covariance to the features of normals (N, C, H, W)."""
        features = torch.cat([self.backbone(part.to(self.mean.device)) for part in torch.split(normals, batch)])
        rows = features.double().cpu()
        covariance = torch.zeros(rows.shape[1], rows.shape[1], dtype=rows.dtype)
        if len(rows) > 1:
            covariance = torch.from_numpy(LedoitWolf().fit(rows.numpy()).covariance_)
        # One image, or identical images, have no covariance: use the plain distance.
        floor = LEAST * covariance.diagonal().mean().item() or 1.0
        lower = torch.linalg.cholesky(covariance + floor * torch.eye(len(covariance)))
        # With covariance L L^T, the distance is the length of (x - mean) L^-T.
        inverse = torch.linalg.solve_triangular(lower, torch.eye(len(lower), dtype=lower.dtype), upper=False)
        self.mean, self.whitening = rows.mean(dim=0).to(features), inverse.T.to(features)


class Gaussian(Fitted):
    """A Gaussian fitted to the features of the train normals on a frozen backbone."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "efficientnet_lite0", {}),
    ) -> None:
        """Fit the Gaussian to all train normals."""
        normals = torch.from_numpy(data.train.pixels.copy()).float().div_(255)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = GaussianFeatures(backbone, normals.shape[1]).to(device).eval()
        self.network.requires_grad_(False)
        self.network.fit(normals)

    @classmethod
    def build(cls, *, channels: int, image_size: int | Sequence[int], backbone: Item) -> nn.Module:
        """An unfitted detector of the same shape."""
        return GaussianFeatures(backbone, channels)
