"""Balls of other norms inside a ball of l2: what is proven there holds for them too."""

from __future__ import annotations

from torch import Tensor

from assay.contracts import Norm

BALLS: tuple[Norm, ...] = ("linf", "l2", "l1")
"""The norms whose balls lie in an l2 ball that is not much too large to say anything."""


def in_l2(radii: Tensor, norm: Norm, images: Tensor) -> Tensor:
    """Radii (R,) float64 of the l2 balls around images (B, C, H, W) that hold the balls of these radii of `norm`."""
    widening = images[0].numel() ** 0.5 if norm == "linf" else 1.0
    return radii.to(images.device).double() * widening
