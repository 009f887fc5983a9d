"""Checks that a trainable accepts a search space: all fixed parameters, and every corner of the searched ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from assay import shelves
from assay.config import parameters
from assay.config.space import Assignment, Space, corners, merge
from assay.config.validation import from_validation, shown
from assay.contracts import Plain
from assay.errors import Fault, InputError, suggest

METHODS = ("train_epoch", "detector", "state_dict", "load_state_dict", "build")
"""The methods of contracts.Trainable."""


class Bound(NamedTuple):
    """A search space checked against one trainable: fixed parameters with defaults filled in, and the largest `epochs`.

    epochs: None if the trainable has no such parameter, or if there are faults.
    """

    fixed: Plain
    epochs: int | None
    faults: list[Fault]


def recipe(name: str) -> tuple[Callable[..., Any] | None, list[Fault]]:
    """The trainable of that name, or the reason why there is none."""
    try:
        trainable = shelves.load("trainables", name)
        shelves.signature(trainable)
    except InputError as error:
        return None, [Fault("trainable", shown(name), str(error))]
    lacking = [method for method in METHODS if not hasattr(trainable, method)]
    if lacking:
        allowed = f"is not a trainable: it has no {', '.join(lacking)} (see assay.contracts.Trainable)"
        return None, [Fault("trainable", shown(name), allowed)]
    return trainable, []


def configuration(trainable: Callable[..., Any], fixed: Mapping[str, Any], assignment: Assignment) -> Plain:
    """The trainable's whole configuration as plain values, defaults filled in; raises pydantic.ValidationError."""
    values: Plain = parameters.resolved(shelves.signature(trainable).model_validate(merge(fixed, assignment)))
    return values


def bind(trainable: Callable[..., Any], fixed: Mapping[str, Any], space: Space) -> Bound:
    """Fixed and searched parameters, checked against the trainable's own at every corner of the space.

    A fault at a corner is reported at the key of the space it comes from.
    """
    model = shelves.signature(trainable)
    flat = _flat(model, fixed)
    faults = [
        Fault(f"space.{key}", f"{key} in `fixed` too", "a parameter is either fixed or searched; take one out")
        for key in space
        if _holds(flat, key)
    ]
    start = {**_defaults(model, flat, space), **flat}
    wrong = {key: fault for key in space if (fault := _unknown(model, start, key))}
    known = {key: domain for key, domain in space.items() if key not in wrong}
    faults += wrong.values()
    whole: list[Plain] = []
    for corner in corners(known):
        merged = merge(start, corner)
        try:
            whole.append(parameters.resolved(model.model_validate(merged)))
        except ValidationError as error:
            faults += [_at_home(fault, corner, flat) for fault in from_validation(error, model, merged)]
    once: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        once.setdefault((fault.key, fault.allowed), fault)
    epochs = None if faults else max((run.get("epochs") for run in whole), default=None, key=lambda n: n or 0)
    return Bound(_without(whole[0], known) if whole else {}, epochs, list(once.values()))


def _flat(model: type[BaseModel], values: Mapping[str, Any]) -> Plain:
    """The values with every item in flat form (`{name: cutpaste, area: 0.1}`), so that paths can lead into it."""
    flat = dict(values)
    for key, value in values.items():
        inner = parameters.nested(model.model_fields[key]) if key in model.model_fields else None
        if isinstance(inner, type) and isinstance(value, Mapping):
            flat[key] = _flat(inner, value)
        elif isinstance(inner, shelves.Shelf) and value is not None:
            try:
                name, given = shelves.normal_form(value)
            except PydanticCustomError:
                continue
            flat[key] = {"name": name, **given}
    return flat


def _defaults(model: type[BaseModel], fixed: Mapping[str, Any], space: Space) -> Plain:
    """Defaults of the parameters that a path of the space leads into and that are not fixed."""
    roots = {key.split(".")[0] for key in space if "." in key} - set(fixed)
    given = {root: model.model_fields[root] for root in sorted(roots & set(model.model_fields))}
    return {
        key: parameters.resolved(parameters.default(field)) for key, field in given.items() if not field.is_required()
    }


def _holds(values: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _unknown(model: type[BaseModel], values: Mapping[str, Any], key: str) -> Fault | None:
    """The fault of a path that leads to no parameter, with the closest valid path."""
    spot: type[BaseModel] | None = model
    inside: Any = values
    for part in key.split("."):
        if spot is None:
            return None
        if part not in spot.model_fields:
            paths = sorted(_paths(model, values))
            allowed = f"unknown parameter{suggest(key, paths)}; available: {', '.join(paths)}"
            return Fault(f"space.{key}", shown(key), allowed)
        inner = parameters.nested(spot.model_fields[part])
        inside = inside.get(part) if isinstance(inside, Mapping) else None
        spot = parameters.item_model(inner, inside) if isinstance(inner, shelves.Shelf) else inner
    return None


def _paths(model: type[BaseModel], values: Any) -> Iterator[str]:
    """Dotted paths of all parameters: a model's own, nested ones, and those of the items named in the values."""
    for key, field in model.model_fields.items():
        inner, inside = parameters.nested(field), values.get(key) if isinstance(values, Mapping) else None
        if isinstance(inner, shelves.Shelf):
            yield key
            inner = parameters.item_model(inner, inside)
        elif inner is None:
            yield key
        if inner is not None:
            yield from (f"{key}.{path}" for path in _paths(inner, inside))


def _at_home(fault: Fault, corner: Assignment, fixed: Mapping[str, Any]) -> Fault:
    """A fault of a configuration, at the key of the file its value comes from: in `space` or in `fixed`."""
    for key, value in corner.items():
        if fault.key == key or fault.key.startswith(f"{key}."):
            inside = fault.key[len(key) :]
            item = f".{value['name']}" if inside and isinstance(value, Mapping) and "name" in value else ""
            several = isinstance(value, list) and not inside
            instead = f"; to search several values write `{{choice: {shown(value)}}}`" if several else ""
            return Fault(f"space.{key}{item}{inside}", fault.found, fault.allowed + instead)
        if key.startswith(f"{fault.key}.") and not _holds(fixed, fault.key):
            return Fault(f"space.{key}", fault.found, fault.allowed)
    return Fault(f"fixed.{fault.key}" if fault.key else "fixed", fault.found, fault.allowed)


def _without(values: Mapping[str, Any], space: Space) -> Plain:
    """The values without those at the paths of the space."""
    left = dict(values)
    for key in space:
        first, _, rest = key.partition(".")
        if not rest:
            left.pop(first, None)
        elif isinstance(left.get(first), Mapping):
            left[first] = _without(left[first], {rest: space[key]})
    return left
