"""Detectors from outside, good and bad, as functions that make them: `toy_outside:good` and so on."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Light(nn.Module):
    """Images (B, C, H, W) -> how much light there is after a 3 x 3 blur: (B,), anomalous images are brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        self.blur.weight.data = torch.linspace(0.5, 1.5, 9).reshape(1, 1, 3, 3) / 9
        self.scale = torch.tensor([2.0])  # a constant: no weight and no buffer

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return torch.tanh(self.scale * self.blur(images[:, :1])).flatten(1).mean(1)


def good() -> nn.Module:
    return Light()


def plain_function():
    return lambda images: images.mean((1, 2, 3))


def drawn() -> nn.Module:
    """Its weights are drawn anew each time."""
    net = Light()
    net.blur.weight.data = torch.randn(1, 1, 3, 3)
    return net


def needs_a_path(path: str) -> nn.Module:
    return Light()


def breaks() -> nn.Module:
    raise OSError("weights.pt is not there")


def no_detector() -> str:
    return "detector"


instance = Light()


class Stubborn(Light):
    """Has a batch-norm that is always in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def train(self, mode: bool = True):
        """Whatever is asked, batch-norm trains."""
        super().train(mode)
        self.norm.training = True
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return self.norm(super().forward(images)[:, None, None, None]).flatten()


def stubborn() -> nn.Module:
    return Stubborn()
