"""What is proven of a detector's score: by the detector itself, or because the score is monotone in every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, get_args

from assay.contracts import Certified, Monotonicity, Norm
from assay.errors import DataError, ModelError
from assay.norm_balls import monotone_bounds

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def monotone(detector: nn.Module) -> Monotonicity | None:
    """What a detector claims of its score (contracts.Monotone), or None; raises ModelError for a claim that is none."""
    claim: Monotonicity | None = getattr(detector, "MONOTONE", None)
    if claim is not None and claim not in get_args(Monotonicity):
        raise ModelError(f"MONOTONE is {claim!r}; it must be one of {', '.join(get_args(Monotonicity))}")
    if claim == "mixed" and not hasattr(detector, "decomposed"):
        raise ModelError("MONOTONE is 'mixed', which needs a method `decomposed(rising, falling)`")
    return claim


def norms(detector: nn.Module) -> tuple[Norm, ...]:
    """The norms in whose balls something is proven of the detector's score."""
    own: tuple[Norm, ...] = tuple(getattr(detector, "CERTIFIES", ()))
    return own if "linf" in own or monotone(detector) is None else ("linf", *own)


def bounds(
    detector: nn.Module,
    images: Tensor,
    norm: Norm,
    radii: Tensor,
    random: Sequence[torch.Generator],
    confidence: float,
) -> tuple[Tensor, Tensor]:
    """Bounds (B, R), (B, R) of the score in the balls of R radii, as of `contracts.Certified`.

    A monotone score takes two forwards a radius. Raises DataError for images outside [0, 1].
    """
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise DataError("images have pixels outside [0, 1] or NaN; a proof holds for images in the box alone")
    if norm in getattr(detector, "CERTIFIES", ()):
        return cast(Certified, detector).certify(images, norm, radii, random, confidence)
    return monotone_bounds(detector, cast(Monotonicity, monotone(detector)), images, radii)
