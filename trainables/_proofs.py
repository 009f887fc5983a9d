"""Bounds of a detector's score for detectors that are built on it: its own proof, or both ends if it is monotone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from assay.contracts import Certified, Monotone, Norm
from assay.norm_balls import ends

ROUNDING = 64
"""How far bounds of a monotone score are widened, in rounding errors of float32 at their size."""


def proven_norms(detector: nn.Module) -> set[Norm]:
    """The norms in whose balls something is proven of the detector's score."""
    monotone: set[Norm] = {"linf"} if getattr(detector, "MONOTONE", None) else set()
    return monotone | set(getattr(detector, "CERTIFIES", ()))


@torch.no_grad()
def bounds(
    detector: nn.Module,
    images: Tensor,
    norm: Norm,
    radii: Tensor,
    random: Sequence[torch.Generator],
    confidence: float,
) -> tuple[Tensor, Tensor]:
    """Bounds (B, R), (B, R) float64 of the score in the balls of R radii, as of `contracts.Certified`."""
    if norm in getattr(detector, "CERTIFIES", ()):
        lower, upper = cast(Certified, detector).certify(images, norm, radii, random, confidence)
        return lower.double(), upper.double()
    parts: Any = cast(Monotone, detector)
    found = []
    for radius in radii.tolist():
        dark, bright = ends(images, radius)
        if parts.MONOTONE == "mixed":
            pair = parts.decomposed(dark, bright), parts.decomposed(bright, dark)
        else:
            pair = (
                (detector(dark), detector(bright)) if parts.MONOTONE == "rising" else (detector(bright), detector(dark))
            )
        slack = ROUNDING * torch.finfo(torch.float32).eps * torch.maximum(pair[0].abs(), pair[1].abs())
        found.append(((pair[0] - slack).double(), (pair[1] + slack).double()))
    return torch.stack([low for low, _ in found], dim=1), torch.stack([high for _, high in found], dim=1)
