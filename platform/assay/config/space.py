"""A search space: dotted paths into a trainable's configuration, each with a domain.

A configuration has three forms: the **assignment** (`{"pseudo_anomaly": {"name": "cutpaste", "area": 0.1},
"adversary.epsilon": 0.01}`), its flat **parameters** (`pseudo_anomaly.cutpaste.area`) and the trainable's whole
**configuration** (nested, including fixed parameters).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from assay.config.domains import Domain, label_of, side_by_side
from assay.contracts import Plain

if TYPE_CHECKING:
    import optuna

Space: TypeAlias = Mapping[str, Domain]
Assignment: TypeAlias = Mapping[str, Any]


def suggest(space: Space, trial: optuna.Trial) -> Plain:
    """The assignment drawn by a trial's sampler: dotted key -> plain value, items as `{name: ..., area: 0.1}`."""
    return {key: domain.suggest(trial, key) for key, domain in space.items()}


def parameters(assignment: Assignment) -> Plain:
    """The assignment in flat form, with the names used in the Optuna study: `pseudo_anomaly.cutpaste.area`."""
    flat: Plain = {}
    for key, value in assignment.items():
        if isinstance(value, Mapping):
            item = value.get("name")
            inside = {k: v for k, v in value.items() if k != "name"} if item else value
            if item:
                flat[key] = item
            flat |= parameters({f"{key}.{item}.{k}" if item else f"{key}.{k}": v for k, v in inside.items()})
        else:
            flat[key] = label_of(value)
    return flat


def merge(fixed: Mapping[str, Any], assignment: Assignment) -> Plain:
    """The trainable's whole configuration, nested: the fixed part, with the assignment set at its dotted paths."""
    whole: Plain = copy.deepcopy(dict(fixed))
    for key, value in assignment.items():
        *parents, last = key.split(".")
        inner = whole
        for parent in parents:
            if not isinstance(inner.get(parent), dict):
                inner[parent] = {}
            inner = inner[parent]
        inner[last] = copy.deepcopy(value)
    return whole


def corners(space: Space) -> list[Plain]:
    """Assignments that together contain both ends of every range and every option of every choice.

    They include conditional parameters, and are as few as possible, not the product of all corners.
    """
    return side_by_side(space)


def size(space: Space) -> int | None:
    """How many different configurations there are; None if a domain is continuous."""
    sizes = [domain.size() for domain in space.values()]
    return None if None in sizes else math.prod(size or 1 for size in sizes)


def varied(space: Space) -> dict[str, Domain]:
    """Every parameter of the study by name, including conditional ones but not constants."""
    return dict(pair for key, domain in space.items() for pair in domain.parameters(key))


def plain(space: Space) -> Plain:
    """The space as YAML."""
    return {key: domain.plain() for key, domain in space.items()}
