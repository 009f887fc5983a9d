"""A twin that is audited, and files that are deployed in its place: equal, and with the faults that real ones have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import toy_audit
from torch import Tensor, nn
from torch.nn import functional


class Resizing(nn.Module):
    """Images (B, 1, S, S) -> how bright their brightest spot is after a resize to half their size: (B,).

    As a detector that takes images at their own size: the resize is inside.
    """

    def __init__(self, antialias: bool = True, type_: torch.dtype = torch.float32, shift: float = 0.0) -> None:
        super().__init__()
        self.antialias, self.type_, self.shift = antialias, type_, shift
        self.scale = torch.tensor([0.9])

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        size = toy_audit.SIZE // 2
        small = functional.interpolate(images, (size, size), mode="bilinear", antialias=self.antialias)
        light = (small.to(self.type_) * self.scale.to(self.type_)).float()
        return torch.logsumexp(8 * light.flatten(1), 1) / 8 + self.shift


def twin() -> nn.Module:
    return Resizing()


FILES: dict[str, Callable[[], nn.Module]] = {
    "equal": twin,
    "shifted": lambda: Resizing(shift=0.02),
    "resize": lambda: Resizing(antialias=False),
    "bf16": lambda: Resizing(type_=torch.bfloat16),
}


class Normalised(nn.Module):
    """A detector's score divided by a range, its threshold moved to 0.5, and clipped to [0, 1], as libraries do it."""

    def __init__(self, inner: nn.Module, threshold: float, width: float) -> None:
        super().__init__()
        self.inner, self.threshold, self.width = inner, threshold, width

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return ((self.inner(images) - self.threshold) / self.width + 0.5).clamp(0, 1)


def save(detector: nn.Module, path: Path) -> Path:
    """Export a detector as a `.pt2` file."""
    images = torch.rand(2, 1, toy_audit.SIZE, toy_audit.SIZE)
    program = torch.export.export(detector.eval(), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, path)
    return path


class Bright(nn.Module):
    """Images (B, 1, S, S) -> how bright their brightest spot is, without a resize: (B,)."""

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        return torch.logsumexp(8 * functional.avg_pool2d(images, 3).flatten(1), 1) / 8
