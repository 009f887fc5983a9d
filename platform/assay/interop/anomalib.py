"""The image models of anomalib (extra `anomalib`, 2.7 or later) by name, and the parameters that each takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model
from pydantic_core import PydanticCustomError, core_schema

from assay.contracts import Plain
from assay.errors import InputError, UnknownName
from assay.shelves import normal_form

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

COMPONENTS = ("pre_processor", "post_processor", "evaluator", "visualizer")
"""Parameters of every model that are objects of anomalib, and never part of a configuration."""
MISSING = "anomalib is not installed: pip install 'assay[anomalib]'"


def names() -> dict[str, type[AnomalibModule]]:
    """Class name -> class of every image model; raises InputError where anomalib is not installed."""
    try:
        from anomalib.models import image
    except ImportError as error:
        raise InputError(MISSING if error.name == "anomalib" else f"anomalib cannot be imported: {error}") from error
    return {name: getattr(image, name) for name in image.__all__}


def model_class(name: str) -> type[AnomalibModule]:
    """The model of that name, in any case, with or without underscores; raises UnknownName with the known ones."""
    known = names()
    plain = {key.lower(): value for key, value in known.items()}
    try:
        return plain[name.replace("_", "").lower()]
    except KeyError:
        raise UnknownName("anomalib model", name, known) from None


def parameters(model: type[AnomalibModule], values: Mapping[str, Any]) -> Plain:
    """Values checked against the parameters of a model's constructor; raises pydantic.ValidationError."""
    signature = inspect.signature(model.__init__).parameters
    hints = get_type_hints(model.__init__)
    known = [name for name in signature if name not in ("self", *COMPONENTS)]
    fields: Plain = {name: (hints.get(name, Any), signature[name].default) for name in known}
    checked = create_model(
        model.__name__, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields
    )
    return {name: getattr(checked.model_validate(dict(values)), name) for name in values}


@dataclass(frozen=True)
class ImageModel:
    """Annotation of a parameter that names an anomalib model: `padim`, `{padim: {n_features: 50}}`, `{name: padim}`.

    The value is a mapping in the last form. Parameters are checked where anomalib is installed, and it must be.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def read(self, value: Any) -> Plain:
        """The name of the class and its parameters, as given, in one mapping."""
        name, given = normal_form(value)
        try:
            model = model_class(name)
            parameters(model, given)
        except ValidationError as error:
            known = [key for key in inspect.signature(model.__init__).parameters if key not in ("self", *COMPONENTS)]
            raise PydanticCustomError("parameters", "{why}", {"why": _faults(error, model.__name__, known)}) from None
        except InputError as error:
            raise PydanticCustomError("unknown_name", "{reason}", {"reason": str(error)}) from None
        return {"name": model.__name__, **given}


def _faults(error: ValidationError, model: str, known: list[str]) -> str:
    wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
    return f"{model} does not take this ({wrong}); its parameters: {', '.join(known)}"
