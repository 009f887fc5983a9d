"""EOT: another attack on the mean of many scores, for a detector that answers the same image differently each time."""

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

    attack: one that knows the norm. Images are compared by their means, and what it found is judged once more, against
    the clean image and `start`, by means of fresh draws: those are the scores returned. For a detector that answers
    alike every time nothing but the cost differs from the attack itself.
    """

    def mean(batch: Tensor) -> Tensor:
        scores: list[Any] = [score(batch) for _ in range(draws)]
        # In float64, so that the mean of equal scores is that score. What is no tensor is left to be refused.
        found: Tensor = torch.stack(scores).double().mean(0) if isinstance(scores[0], Tensor) else scores[0]
        return found

    found: Attacked = attack.function(mean, images, direction, threat, random, start=start, **attack.arguments())
    again = Objective(mean, images, direction, threat, start, norms=NORMS)
    again.value(found.images)
    judged = again.attacked()
    early, late = found.broken_at, judged.broken_at
    if early is not None and late is not None:
        late = torch.where(late > 0, torch.where(early > 0, early, found.forwards + late) * draws, -1)
    return judged._replace(
        forwards=(found.forwards + judged.forwards) * draws, backwards=found.backwards * draws, broken_at=late
    )
