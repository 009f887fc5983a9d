"""MIM: steps along an accumulated gradient, which carries the attack across small local optima of the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective, Precision
from assay.attacks._runs import falling
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import outward, per_image, project, size, sparse_share, steepest
from assay.units import Count, NonNegative, Positive

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "white-box"


def mim(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 20,
    step_size: Positive = 5.0,
    decay: NonNegative = 1.0,
    warm_steps: Count | None = None,
    precision: Precision = "tf32",
) -> Attacked:
    """Momentum iterative method (Dong et al. 2018, algorithm 1) from the clean image, or from `start`.

    step_size: length of the whole path over epsilon; 1 in the paper, which leaves no room to turn back.
    decay: of the accumulated gradient, each summand divided by its l1 norm (mu in the paper); 0 is PGD.
    warm_steps: if a `start` is given, move it outward to the edge of the ball and make this many steps.
    precision: of the steps on a GPU; the result is confirmed in float32. Draws no random numbers.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS, precision=precision)
    lengths: Sequence[Tensor | float] = [step_size * threat.epsilon / steps] * steps
    at = images if start is None else start
    if start is not None and warm_steps is not None:
        at, lengths = outward(start, images, threat), falling(start, images, threat, warm_steps)
    momentum = torch.zeros_like(images)
    for step, length in enumerate(lengths):
        _, gradient = objective.ascent(at)
        total = size(gradient, "l1")
        momentum = decay * momentum + gradient / per_image(torch.where(total > 0, total, 1)).to(gradient)
        ahead = steepest(momentum, threat.norm, at, sparse_share(step / len(lengths), images[0].numel()))
        at = project(at + length * ahead, images, threat)
    objective.value(at)
    return objective.attacked()
