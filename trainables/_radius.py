"""Balls of other norms contained in an l2 ball: what is proven for the l2 ball holds for them as well."""

from __future__ import annotations

from torch import Tensor

from assay.contracts import Norm

BALLS: tuple[Norm, ...] = ("linf", "l2", "l1")
"""Norms whose balls fit into an l2 ball of useful size."""


def in_l2(radii: Tensor, norm: Norm, images: Tensor) -> Tensor:
    """Radii (R,) float64 of the l2 balls around images (B, C, H, W) that contain the balls of these radii of `norm`."""
    widening = images[0].numel() ** 0.5 if norm == "linf" else 1.0
    return radii.to(images.device).double() * widening
