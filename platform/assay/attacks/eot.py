"""EOT: runs another attack on the mean of several scores, for a detector with random scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.shelves import Item, Shelf
from assay.units import Count

NORMS = ("linf", "l2", "l1", "patch", "spatial")
KNOWLEDGE = "white-box"
NEEDS = "randomness"


def eot(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    start: Tensor | None = None,
    attack: Annotated[Item, Shelf("attacks")] = Item("attacks", "apgd", {}),
    draws: Count = 20,
) -> Attacked:
    """Expectation over transformation (Athalye et al. 2018, section 3): the attack sees the mean of `draws` scores.

    attack: must support the norm. Images are compared by their mean scores. The result is then compared with the clean
    image and `start` by means of fresh draws, and those means are the scores returned. For a deterministic detector
    only the cost differs from that of the attack itself.
    """

    def mean(batch: Tensor) -> Tensor:
        scores: list[Any] = [score(batch) for _ in range(draws)]
        # float64, so that the mean of equal scores is exactly that score. A non-tensor is rejected by the objective.
        average: Tensor = torch.stack(scores).double().mean(0) if isinstance(scores[0], Tensor) else scores[0]
        return average

    attacked: Attacked = attack.function(mean, images, direction, threat, random, start=start, **attack.arguments())
    again = Objective(mean, images, direction, threat, start, norms=NORMS)
    again.value(attacked.images)
    judged = again.attacked()
    early, late = attacked.broken_at, judged.broken_at
    if early is not None and late is not None:
        late = torch.where(late > 0, torch.where(early > 0, early, attacked.forwards + late) * draws, -1)
    return judged._replace(
        forwards=(attacked.forwards + judged.forwards) * draws, backwards=attacked.backwards * draws, broken_at=late
    )
