"""Configurations that a person puts first: `search.enqueue`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from assay import shelves
from assay.config.domains import Choice, Domain, Integer, LogUniform, Record, Uniform, label_of
from assay.config.space import Space
from assay.config.validation import shown
from assay.contracts import Plain
from assay.errors import Fault, suggest
from assay.units import number


def parameters(entry: Mapping[str, Any], space: Space) -> Plain:
    """An entry in flat form, under the names used in the Optuna study; the entry has no faults."""
    return {name: value for key in entry for name, value, _ in _read(key, entry[key], space[key]) if name}


def faults(entry: Mapping[str, Any], space: Space, path: str) -> Iterator[Fault]:
    """What of an entry is not in the space; path: its key in the file."""
    for key, value in entry.items():
        if key not in space:
            yield Fault(f"{path}.{key}", shown(value), f"is not in the space{suggest(key, space)}: {', '.join(space)}")
            continue
        for _, found, wrong in _read(key, value, space[key]):
            if wrong:
                yield Fault(f"{path}.{key}", shown(found), wrong)


def _read(name: str, value: Any, domain: Domain) -> Iterator[tuple[str, Any, str]]:
    """(name in the study, value, what is wrong) of all that a value of the file decides; a constant decides nothing."""
    if isinstance(domain, Choice):
        yield from _option(name, value, domain)
    elif isinstance(domain, Record):
        inner = value if isinstance(value, Mapping) else {}
        for key, one in inner.items():
            if key in domain.entries:
                yield from _read(f"{name}.{key}", one, domain.entries[key])
            else:
                yield "", one, f"'{key}' is not one of {', '.join(domain.entries)}"
    elif isinstance(domain, (Uniform, LogUniform, Integer)):
        value = number(value)
        whole = isinstance(domain, Integer)
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if right and domain.low <= value <= domain.high:
            yield name, value, ""
        else:
            yield "", value, f"must be a {'whole ' if whole else ''}number from {domain.low:g} to {domain.high:g}"
    elif value != domain.value:
        yield "", value, f"is fixed in the space to {shown(domain.value)}"


def _option(name: str, value: Any, domain: Choice) -> Iterator[tuple[str, Any, str]]:
    """The same of a choice: its label, and what the option has of its own."""
    options = dict(domain.options)
    inner: Plain = {}
    label = label_of(value) if not isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        try:
            label, inner = shelves.normal_form(value)
        except PydanticCustomError:
            yield "", value, "write a name, or a name with parameters"
            return
    if label not in options and label_of(number(value)) in options:
        label = label_of(number(value))
    if label not in options:
        yield "", value, f"must be one of {', '.join(map(str, options))}"
        return
    yield name, label, ""
    yield from _read(f"{name}.{label}", inner, options[label]) if inner else ()
