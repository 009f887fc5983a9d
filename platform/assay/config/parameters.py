"""Describes an item's parameters: dotted paths, nested parameters, and limits as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, BeforeValidator, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, to_jsonable_python

from assay import shelves
from assay.errors import InputError
from assay.shelves import Item, Shelf, signature
from assay.units import of_norm, pixel_scale

KINDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    NoneType: "null",
}


def of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every parameter of a model by dotted path, including those nested inside it."""
    for key, field in model.model_fields.items():
        inner = nested(field)
        if isinstance(inner, type):
            yield from of(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", field


def nested(field: FieldInfo) -> type[BaseModel] | Shelf | None:
    """What is nested in a parameter: a model's parameters, a shelf item, or neither."""
    for part in parts_of(_annotation(field)):
        if isinstance(part, Shelf) or (isinstance(part, type) and issubclass(part, BaseModel)):
            return part
    return None


def default(field: FieldInfo) -> Any:
    """A parameter's default as it validates (an Item for the name of one); raises ValueError if it is required."""
    if field.is_required():
        raise ValueError("a required parameter has no default")
    return TypeAdapter(_annotation(field)).validate_python(field.get_default(call_default_factory=True))


def plain_default(field: FieldInfo) -> Any:
    """A parameter's default as it would be written in YAML; raises ValueError if it is required."""
    value = default(field)
    return value.plain() if isinstance(value, Item) else resolved(value)


def resolved(value: Any) -> Any:
    """A validated value as plain JSON values, with the defaults of models and of items filled in."""
    if isinstance(value, Item):
        return {"name": value.name, **resolved(signature(value.function).model_validate(dict(value.parameters)))}
    if isinstance(value, BaseModel):
        return {key: resolved(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): resolved(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolved(inner) for inner in value]
    return to_jsonable_python(value)


def words(field: FieldInfo) -> str:
    """What a parameter may be, as text: `whole number, at least 1`."""
    parts = list(parts_of(_annotation(field)))
    kinds = dict.fromkeys(kind for part in parts if (kind := _kind(part)))
    if any(isinstance(part, Shelf) for part in parts):
        kinds.pop("item", None)
    if is_epsilon(field):
        kinds = {"epsilon in pixel scale (2/255)": None}
    return ", ".join([" or ".join(kinds) or "anything", *_limits(parts)])


def is_epsilon(field: FieldInfo) -> bool:
    """Whether a parameter is in pixel scale, so that it is best written as `2/255`."""
    parts = parts_of(_annotation(field))
    return any(isinstance(part, BeforeValidator) and part.func in (pixel_scale, of_norm) for part in parts)


def parts_of(annotation: Any) -> Iterator[Any]:
    """The members of a union and the type and metadata of an Annotated, flattened; anything else unchanged."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        for part in get_args(annotation):
            yield from parts_of(part)
    else:
        yield annotation


def item_model(shelf: Shelf, value: Any) -> type[BaseModel] | None:
    """The parameters of the shelf item that a value of a file names, or None if it names none."""
    try:
        return signature(shelves.load(shelf.name, shelves.normal_form(value)[0]))
    except (PydanticCustomError, InputError):
        return None


def _annotation(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _kind(part: Any) -> str:
    if isinstance(part, Shelf):
        return f"name on shelf {part.name}"
    if get_origin(part) is Literal:
        return " or ".join(str(value) for value in get_args(part))
    if get_origin(part) in (list, tuple):
        [inner, *_] = get_args(part) or (Any,)
        return f"list of {' or '.join(filter(None, map(_kind, parts_of(inner)))) or 'anything'}"
    if isinstance(part, type) and issubclass(part, Item):
        return "item"
    return KINDS.get(part) or (part.__name__ if isinstance(part, type) else "")


def _limits(parts: list[Any]) -> list[str]:
    least = next((f"{part.ge:g}" for part in parts if isinstance(part, Ge)), "")
    most = next((f"{part.le:g}" for part in parts if isinstance(part, Le)), "")
    limits = [f"{least} to {most}"] if least and most else []
    limits += [f"at least {least}"] if least and not most else []
    limits += [f"at most {most}"] if most and not least else []
    limits += [f"more than {part.gt:g}" for part in parts if isinstance(part, Gt)]
    limits += [f"less than {part.lt:g}" for part in parts if isinstance(part, Lt)]
    return limits + [f"at least {part.min_length} of them" for part in parts if isinstance(part, MinLen)]
