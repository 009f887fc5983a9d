"""FAB: steps to the plane where the linearised score reaches the threshold, kept close to the clean image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective, Precision
from assay.attacks._plane import onto_plane, promised, rise
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import outward, per_image, size
from assay.units import Count

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "white-box"

BIASED, OVERSHOOT, TINY = 0.1, 1.05, 1e-30
"""Largest weight of the step from the clean image; overshoot beyond the plane (section 2.4)."""


def fab(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 20,
    precision: Precision = "tf32",
) -> Attacked:
    """Fast adaptive boundary attack (Croce & Hein 2020, algorithm 1), from the clean image or from `start`.

    Aims at the threshold or, if there is none or it is already crossed, at a level just out of reach. Every iterate is
    extended along its own direction to the edge of the ball, so that epsilon is used in full, and scored there. Draws
    no random numbers. precision: of the steps on a GPU; what is found is scored in float32.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS, precision=precision)
    at = images if start is None else start
    for _ in range(steps):
        value, gradient = objective.ascent(at, keep=False)  # may lie outside the ball
        missing = objective.missing(value)
        gap = torch.where(missing.isfinite(), missing, promised(gradient, at, images, threat))
        near = onto_plane(gradient, at, gap, threat.norm)
        far = onto_plane(gradient, images, gap + rise(gradient, at - images), threat.norm)
        short, long = size(near, threat.norm), size(far, threat.norm)
        weight = per_image((short / (short + long).clamp(min=TINY)).clamp(max=BIASED)).to(at)
        ahead = (1 - weight) * (at + OVERSHOOT * near) + weight * (images + OVERSHOOT * far)
        at = ahead.clamp(0, 1)
        objective.value(outward(at, images, threat))
    return objective.attacked()
