"""SPSA: Adam steps along a gradient estimated from the scores of images with random sign noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.attacks._slope import gaussian, slope
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import project
from assay.units import Count, Positive

NORMS = ("linf", "l2")
KNOWLEDGE = "score"

KEPT, KEPT_SQUARES = 0.9, 0.999
"""Adam's decay rates of the mean gradient and of its mean square (Kingma & Ba 2015)."""


def spsa(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 50,
    pairs: Count = 20,
    width: Positive = 0.2,
    step_size: Positive = 10.0,
) -> Attacked:
    """Simultaneous perturbation (Uesato et al. 2018, section 4); 2 * pairs forwards per step.

    width: scale of the sign noise, as a share of epsilon. step_size: length of the whole path over epsilon if every
    pixel always moved the same way. Starts at the clean image, or at `start`.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    pixels = images[0].numel()
    length = step_size * threat.epsilon / steps / (pixels**0.5 if threat.norm == "l2" else 1)
    at = images if start is None else start
    mean = squares = torch.zeros_like(at)
    for step in range(1, steps + 1):
        signs = (noise.sign() for noise in gaussian(random, at, pairs))
        estimate = slope(objective, at, images, threat, width, signs)
        mean = KEPT * mean + (1 - KEPT) * estimate
        squares = KEPT_SQUARES * squares + (1 - KEPT_SQUARES) * estimate.square()
        scale = (squares / (1 - KEPT_SQUARES**step)).sqrt().clamp(min=torch.finfo(at.dtype).tiny)
        at = project(at + length * mean / (1 - KEPT**step) / scale, images, threat)
    objective.value(at)
    return objective.attacked()
