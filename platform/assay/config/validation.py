"""Pydantic's errors as messages for the person who wrote the YAML file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from assay import shelves
from assay.config.parameters import item_model, parts_of
from assay.errors import Fault, suggest
from assay.redaction import redacted

PHRASES = {
    "missing": "is required",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be less than {lt:g}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must be text of at least {min_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
    "is_instance_of": "must be a list, such as [0, 1, 2]",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of `key: value` lines",
    "mapping_type": "must be a mapping of `key: value` lines",
    "model_type": "must be a mapping of `key: value` lines",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
    "value_error": "{error}",
}
"""Type of a pydantic error -> what is allowed. Other types keep pydantic's own message."""


def from_validation(error: ValidationError, model: type[BaseModel], data: Any, prefix: str = "") -> list[Fault]:
    """One Fault per invalid place, with the value found there and what is allowed.

    model: what `data`, the plain values, was validated against; known keys are read from it (including parameters of
    shelf items). prefix: key path of `data` in the file. Where a place allows several types, the fault lists all.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        keys, known = _locate(detail, model, data)
        given = "nothing" if detail["type"] == "missing" else shown(detail["input"])
        allowed = places.setdefault((".".join([prefix, *keys] if prefix else keys), given), [])
        words = _words(detail, known)
        if words not in allowed:
            allowed.append(words)
    return [Fault(path, given, _either(allowed)) for (path, given), allowed in places.items()]


def _either(allowed: list[str]) -> str:
    """What is allowed, as one sentence."""
    first, *others = allowed
    return ", or ".join([first, *(other.removeprefix("must be ") for other in others)])


def shown(value: Any) -> str:
    """A value as YAML on one line of at most 60 characters, with passwords removed."""
    text = redacted(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _words(detail: ErrorDetails, known: list[str]) -> str:
    if detail["type"] == "extra_forbidden":
        there = f"; available: {', '.join(known)}" if known else ""
        return f"unknown key{suggest(str(detail['loc'][-1]), known)}{there}"
    phrase = PHRASES.get(detail["type"])
    return phrase.format(**detail.get("ctx", {})) if phrase else detail["msg"]


def _locate(detail: ErrorDetails, model: type[BaseModel], data: Any) -> tuple[list[str], list[str]]:
    """The key path as written in the file, and the keys known beside its last one.

    pydantic's location also contains union members, which the file does not have, and lacks the name of a shelf item
    written as `name: {...}`, which the file has.
    """
    spots: list[Any] = [model]
    keys: list[str] = []
    known: set[str] = set()
    for part in detail["loc"]:
        spots = [member for spot in spots for member in parts_of(spot)]
        shelf_items = [item_model(spot, data) for spot in spots if isinstance(spot, shelves.Shelf)]
        items = [item for item in shelf_items if item]
        if items:
            name, parameters = shelves.normal_form(data)
            keys += [name] if name in data else []
            spots, data = items, parameters
        known = {key for spot in spots for key in _fields(spot)}
        try:
            data = data[part]
        except (LookupError, TypeError):
            if detail["type"] != "missing":
                continue
        keys.append(str(part))
        spots = [below for spot in spots for below in _below(spot, part)]
    return keys, sorted(known)


def _fields(spot: Any) -> dict[str, FieldInfo]:
    """The fields of a model by their names in a file; empty for any other annotation."""
    if not (isinstance(spot, type) and issubclass(spot, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in spot.model_fields.items()}


def _below(spot: Any, part: int | str) -> Iterator[Any]:
    """Annotations of what lies under `part` of an annotation: a field, or the values of a list or mapping."""
    if part in (fields := _fields(spot)):
        yield Annotated[(fields[str(part)].annotation, *fields[str(part)].metadata, None)]
    elif get_args(spot):
        yield get_args(spot)[0 if isinstance(part, int) else -1]
