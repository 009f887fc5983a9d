"""How typical features are of normal images: a Gaussian with full, shrunk covariance."""

from __future__ import annotations

import torch
from torch import Tensor


class Density:
    """A Gaussian fitted to features (N, F), N >= 2, its covariance shrunk to a sphere (Ledoit and Wolf 2004)."""

    def __init__(self, features: Tensor) -> None:
        self.mean = features.double().mean(0)
        centred = features.double() - self.mean
        self.root = torch.linalg.cholesky(shrunk_covariance(centred))

    def __call__(self, features: Tensor) -> Tensor:
        """Log-densities (B,) up to a constant; higher is more typical."""
        whitened = torch.linalg.solve_triangular(self.root, (features.double() - self.mean).T, upper=False)
        density: Tensor = whitened.square().sum(0) / -2
        return density


def shrunk_covariance(centred: Tensor) -> Tensor:
    """The Ledoit-Wolf covariance (F, F) of centred features (N, F), never singular."""
    count, size = centred.shape
    covariance = centred.T @ centred / count
    sphere = torch.eye(size, dtype=centred.dtype, device=centred.device)
    variance = covariance.diagonal().mean()
    spread = (covariance - variance * sphere).square().sum()
    noise = ((centred.square().T @ centred.square()).sum() / count - covariance.square().sum()) / count
    weight = (noise.clamp(min=0) / spread.clamp(min=1e-30)).clamp(max=1)
    # Identical normals have no variance at all.
    return (1 - weight) * covariance + (weight * variance + 1e-12) * sphere
