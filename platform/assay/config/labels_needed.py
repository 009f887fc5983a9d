"""Finds the trainables of a search space that need labelled anomalies and do not synthesise their own.

The module of such a trainable sets `NEEDS = "anomalies"`; if its parameter `pseudo_anomaly` is set, it needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from assay import shelves
from assay.config.domains import Choice
from assay.config.parameters import nested
from assay.config.space import Space, corners, merge
from assay.contracts import TrainingData
from assay.errors import DataError, InputError

if TYPE_CHECKING:
    from assay.config.search_space import Spec


def trainables_in_need(trainable: str | Choice, fixed: Mapping[str, Any], space: Space) -> list[str]:
    """The names of the trainables that need labelled anomalies at any corner of the space, sorted."""
    return sorted({needy for name, given in configured(trainable, fixed, space) for needy in _needy(name, given)})


def require(spec: Spec, data: TrainingData) -> None:
    """Raises DataError if a trainable needs labelled anomalies and the dataset turned out to have none."""
    names = [] if len(data.labelled) else trainables_in_need(spec.trainable, spec.fixed, spec.space)
    if names:
        raise DataError(
            f"{data.description['name']}: no labelled anomalies, and {', '.join(names)} needs some; give the "
            "dataset samples in the split `labelled`, or the trainable a pseudo_anomaly"
        )


def configured(
    trainable: str | Choice, fixed: Mapping[str, Any], space: Space
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every trainable of the file with its parameters at every corner."""
    if isinstance(trainable, str):
        yield from ((trainable, merge(fixed, corner)) for corner in corners(space))
        return
    for corner in trainable.corners():
        with suppress(PydanticCustomError):  # an unknown trainable is reported elsewhere
            yield shelves.normal_form(corner)


def _needy(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    """The trainable if it needs labelled anomalies, and any trainables it is built around that do."""
    try:
        item = shelves.load("trainables", name)
        around = [given.get(key, field.default) for key, field in shelves.fields(item).items() if _is_trainable(field)]
        inner = [shelves.normal_form(value.plain() if isinstance(value, shelves.Item) else value) for value in around]
    except (InputError, PydanticCustomError):
        return  # reported elsewhere
    if shelves.stated(item, "NEEDS", "") == "anomalies" and not given.get("pseudo_anomaly"):
        yield name
    for each in inner:
        yield from _needy(*each)


def _is_trainable(field: FieldInfo) -> bool:
    inner = nested(field)
    return isinstance(inner, shelves.Shelf) and inner.name == "trainables"
