"""Shelves: name -> item. The only dynamic import in the project.

A shelf is a package; each file in it is one item, and the file name is the item's public name. The item is the
attribute of that name (a function), or that name in CamelCase (a class). Wherever a name is accepted, so is
`module:attribute`, for a user's own item. Parameters are the item's keyword-only arguments: YAML files are checked
against their annotations and defaults.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pkgutil
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

from assay import consent
from assay.contracts import Plain
from assay.errors import InputError, UnknownName

PACKAGES = {
    "attacks": "assay.attacks",
    "corruptions": "assay.corruptions",
    "checks": "assay.audits.checks",
    "datasets": "assay.datasets",
    "loaders": "assay.models.loaders",
    "samplers": "assay.sweeps.samplers",
    "sections": "assay.reports.sections",
    "trainables": "trainables",
    "losses": "trainables.losses",
    "pseudo_anomalies": "trainables.pseudo_anomalies",
    "backbones": "trainables.backbones",
}
"""Shelf -> its package. Add a shelf here; add an item by adding a file."""

GIVEN = frozenset({"seed", "device", "channels", "start", "surrogate"})
"""Keyword arguments passed by Assay itself; never set from YAML.

A `channels` with a default is an ordinary parameter: a dataset chooses the number, a backbone is given it.
"""


def names(shelf: str) -> list[str]:
    """The sorted names on a shelf; raises UnknownName for an unknown shelf."""
    if shelf not in PACKAGES:
        raise UnknownName("shelf", shelf, PACKAGES)
    package = importlib.import_module(PACKAGES[shelf])
    modules = pkgutil.iter_modules(package.__path__)
    return sorted(m.name for m in modules if not m.ispkg and not m.name.startswith("_"))


def load(shelf: str, name: str) -> Callable[..., Any]:
    """The item called `name` on `shelf`, or a user's own `module:attribute`.

    Raises UnknownName (listing the shelf) or InputError (saying why `module:attribute` cannot be imported).
    """
    return _users_own(name) if ":" in name else _of_shelf(shelf, name)


@functools.cache  # a sweep loads the same few items for every trial
def _of_shelf(shelf: str, name: str) -> Callable[..., Any]:
    if name not in names(shelf):
        raise UnknownName(shelf.replace("_", " ").rstrip("s").replace("ie", "y"), name, names(shelf))
    module = importlib.import_module(f"{PACKAGES[shelf]}.{name}")
    camel = "".join(part.capitalize() for part in name.split("_"))
    item: Callable[..., Any] = getattr(module, name, None) or getattr(module, camel)
    return item


def stated(item: Callable[..., Any], constant: str, default: Any) -> Any:
    """A constant that the item's module defines beside it, such as the `NORMS` of an attack."""
    return getattr(sys.modules[item.__module__], constant, default)


def _users_own(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    sys.path += [folder for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder not in ("", *sys.path)]
    consent.check(name)
    try:
        item: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        looked = f" in {_searched()} and among installed packages" if missing else ""
        raise InputError(
            f"'{name}' cannot be imported: {error}{looked}; write module:attribute of something importable"
        ) from error
    if not callable(item):
        raise InputError(f"'{name}' is a {type(item).__name__}; write module:attribute of a function or a class")
    _OWN.add(module)
    return item


FOLDERS = "ASSAY_MODULES"
"""The environment variable with folders searched for modules last, in workers as well."""
_OWN: set[str] = set()


def own_modules() -> frozenset[str]:
    """The user's own modules from which this process loaded an item."""
    return frozenset(_OWN)


def _searched() -> str:
    """The folders where a user's own module may be: those on the path without installed libraries."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib", "scripts")]
    folders = [str(Path(folder).resolve()) for folder in sys.path if Path(folder).is_dir()]
    return ", ".join(dict.fromkeys(f for f in folders if not f.startswith(tuple(libraries)))) or "no folder"


@functools.cache
def signature(item: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model of the item's own parameters (keyword-only ones that Assay does not pass itself).

    Raises InputError if its annotations use a name that is missing at run time.
    """
    function = item.__init__ if inspect.isclass(item) else item
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(item).parameters
    except (NameError, TypeError, ValueError) as error:
        reason = f"{error}; import what its annotations use at run time, not under TYPE_CHECKING"
        name = getattr(item, "__qualname__", repr(item))
        raise InputError(f"the parameters of '{name}' cannot be read: {reason}") from error
    fields: Plain = {}
    for key, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty
        given = key in GIVEN and (required or key != "channels")
        if parameter.kind is parameter.KEYWORD_ONLY and not given:
            default = ... if required else parameter.default
            fields[key] = (hints.get(key, Any), default)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_default=True)
    return create_model(item.__name__, __config__=config, **fields)


def bind(item: Callable[..., Any], values: Mapping[str, Any]) -> Plain:
    """Keyword arguments for the item from plain values, defaults filled in; raises pydantic.ValidationError."""
    model = signature(item).model_validate(dict(values))
    return {key: getattr(model, key) for key in type(model).model_fields}


def fields(item: Callable[..., Any]) -> dict[str, FieldInfo]:
    """The item's parameters by name: annotation, default, limits."""
    return signature(item).model_fields


_WEIGHTS_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def before_weights() -> Iterator[None]:
    """Within the block, items are built for a state dict that is loaded next: they read no weight files of their own.

    A stored model needs no file but its own, on any machine, and what it names is neither read nor fetched.
    """
    before = _WEIGHTS_FOLLOW.set(True)
    try:
        yield
    finally:
        _WEIGHTS_FOLLOW.reset(before)


def weights_follow() -> bool:
    """Whether an item is built for a state dict that is loaded next; see `before_weights`."""
    return _WEIGHTS_FOLLOW.get()


@dataclass(frozen=True)
class Item:
    """A named item of a shelf with its parameters, as written in a YAML file: `{name: cutpaste, area: 0.1}`."""

    shelf: str
    name: str
    parameters: Mapping[str, Any]

    @property
    def function(self) -> Callable[..., Any]:
        """The item itself."""
        return load(self.shelf, self.name)

    def arguments(self) -> Plain:
        """The parameters as validated keyword arguments of `function`, defaults filled in."""
        return bind(self.function, self.parameters)

    def plain(self) -> Plain:
        """As a flat mapping for JSON: `{name: cutpaste, area: 0.1}`."""
        return {"name": self.name, **self.parameters}


@dataclass(frozen=True)
class Shelf:
    """Annotation for a parameter that names an item: `backbone: Annotated[Item, Shelf("backbones")]`.

    Accepts `cutpaste`, `{cutpaste: {area: 0.1}}`, `{name: cutpaste, area: 0.1}` or an Item.
    """

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(Item.plain)
        )

    def read(self, value: Any) -> Item:
        """The Item that `value` names, with its parameters checked against the item's signature."""
        if isinstance(value, Item):
            value = value.plain()
        name, parameters = normal_form(value)
        try:
            function = load(self.name, name)
            signature(function)
        except InputError as error:
            raise PydanticCustomError("unknown_name", "{reason}", {"reason": str(error)}) from None
        bind(function, parameters)
        return Item(self.name, name, parameters)


def normal_form(value: Any) -> tuple[str, Plain]:
    """(name, parameters) of `cutpaste`, `{cutpaste: {...}}` or `{name: cutpaste, ...}`."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str):
            return value["name"], {k: v for k, v in value.items() if k != "name"}
        if len(value) == 1:
            [(name, parameters)] = value.items()
            if isinstance(parameters, Mapping) or parameters is None:
                return str(name), dict(parameters or {})
    raise PydanticCustomError("item", "write a name, `name: {{parameters}}` or `{{name: ..., parameters}}`")
