"""A trainable that trains nothing, for sweep_overhead.py: what a sweep of it takes is Assay's own time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.units import Fraction


class Brightness(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,): their mean, weighted."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.weight * images.mean((1, 2, 3))


class Idle:
    """One run of nothing; two parameters for the sampler to play with."""

    def __init__(
        self, data: TrainingData, *, seed: int, device: str = "cpu", weight: Fraction = 1.0, unused: Fraction = 0.0
    ) -> None:
        """Keep the weight."""
        self.epochs, self.weight = 1, weight

    @classmethod
    def build(cls, *, channels: int, image_size: int, **parameters: Any) -> nn.Module:
        """An empty detector."""
        return Brightness()

    def train_epoch(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def detector(self) -> nn.Module:
        """The detector, ready at once."""
        return Brightness(self.weight).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""
