"""NES: projected steps along a gradient estimated from the scores of images with normal noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.attacks._slope import gaussian, slope
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import project, steepest
from assay.units import Count, Fraction, Positive

NORMS = ("linf", "l2")
KNOWLEDGE = "score"


def nes(
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
    step_size: Positive = 4.0,
    momentum: Fraction = 0.9,
) -> Attacked:
    """Natural evolution strategies (Ilyas et al. 2018, section 2.1, with momentum); 2 * pairs forwards per step.

    width: scale of the noise, as a share of epsilon. step_size: length of the whole path over epsilon.
    momentum: share of the last estimate kept at every step. Starts at the clean image, or at `start`.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    at = images if start is None else start
    kept = torch.zeros_like(at)
    for _ in range(steps):
        estimate = slope(objective, at, images, threat, width, gaussian(random, at, pairs))
        kept = momentum * kept + (1 - momentum) * estimate
        at = project(at + step_size * threat.epsilon / steps * steepest(kept, threat.norm), images, threat)
    objective.value(at)
    return objective.attacked()
