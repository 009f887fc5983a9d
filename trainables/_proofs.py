"""Bounds of a detector's score for detectors that are built on it: its own proof, or both ends if it is monotone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from assay.contracts import Certified, Monotone, Norm
from assay.norm_balls import monotone_bounds


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
    return monotone_bounds(detector, cast(Monotone, detector).MONOTONE, images, radii)
