"""Transfer: attacks another detector and tries the resulting images on this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import Attacked, ThreatModel
from assay.errors import InputError
from assay.norm_balls import project
from assay.shelves import Item, Shelf

NORMS = ("linf", "l2", "l1")
KNOWLEDGE = "transfer"
NEEDS = "surrogate"

PARTS = (0.25, 0.5, 0.75, 1.0, 2.0, 8.0)
"""Multiples of the surrogate's perturbation; each result is projected into the ball, for linf towards its corners."""


def transfer(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Tensor,
    threat: ThreatModel,
    random: Sequence[torch.Generator],
    *,
    surrogate: Callable[[Tensor], Tensor] | None = None,
    start: Tensor | None = None,
    attack: Annotated[Item, Shelf("attacks")] = Item("attacks", "apgd", {}),
) -> Attacked:
    """An attack on a surrogate detector, tried at several lengths (Papernot et al. 2016).

    attack: used against the surrogate; must support the norm. Only passes of the target are counted, whose score
    chooses among six images; passes of the surrogate cost the attacker no query.
    Raises InputError without a surrogate.
    """
    objective = Objective(score, images, direction, threat, start, norms=NORMS)
    if surrogate is None:
        raise InputError("transfer needs a surrogate: the detector to attack first; name one with `surrogate`")
    unaware = ThreatModel(threat.norm, threat.epsilon)  # the threshold belongs to the target, not to the surrogate
    attacked = attack.function(surrogate, images, direction, unaware, random, **attack.arguments())
    for part in PARTS:
        objective.value(project(images + part * (attacked.images - images), images, threat))
    return objective.attacked()
