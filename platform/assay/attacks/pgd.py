"""PGD: projected steps of constant length along the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective, Precision
from assay.attacks._runs import beginnings, falling
from assay.contracts import Attacked, ThreatModel
from assay.norm_balls import outward, project, sparse_share, steepest
from assay.units import Count, Positive

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "white-box"


def pgd(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    steps: Count = 20,
    restarts: Count = 1,
    step_size: Positive = 5.0,
    random_start: bool = True,
    warm_steps: Count | None = None,
    precision: Precision = "tf32",
) -> Attacked:
    """Projected gradient descent (Madry et al. 2018, section 2.1).

    restarts: number of runs; the best image of all is kept.
    step_size: length of the whole path over epsilon, so that one step is step_size * epsilon / steps.
    random_start: start the first run at a random point instead of the clean image. A given `start` takes precedence;
    all further runs start at random points.
    warm_steps: if a `start` is given, move it outward to the edge of the ball and make a single run of this many
    shrinking steps instead of all runs. Saves most of the cost of an epsilon slightly larger than the last; if epsilon
    doubles, four steps lose a few percent of the score shift.
    precision: of the steps on a GPU; the result is confirmed in float32.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS, precision=precision)
    lengths: Sequence[Tensor | float] = [step_size * threat.epsilon / steps] * steps
    first = start if start is not None else None if random_start else images
    if start is not None and warm_steps is not None:
        first, restarts, lengths = outward(start, images, threat), 1, falling(start, images, threat, warm_steps)
    for at, clean in beginnings(images, threat, random, first, restarts):
        for step, length in enumerate(lengths):
            _, gradient = objective.ascent(at)
            ahead = steepest(gradient, threat.norm, at, sparse_share(step / len(lengths), images[0].numel()))
            at = project(at + length * ahead, clean, threat)
        objective.value(at)
    return objective.attacked()
