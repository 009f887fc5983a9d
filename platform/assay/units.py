"""Numbers as people write them in YAML: `2/255`, `1e-3`, and the annotated types that parameters use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator, ValidationInfo


def number(value: Any) -> Any:
    """A number from `2/255`, `1e-3`, an int or a float; anything else is returned unchanged.

    YAML reads `2/255` and `1e-3` as text, so both are parsed here. The caller validates everything else.
    """
    if not isinstance(value, str):
        return value
    top, slash, bottom = value.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        return value


def pixel_scale(value: Any) -> Any:
    """An epsilon in pixel scale [0, 1]; a whole number such as 2 is refused with `did you mean 2/255`."""
    value = number(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 1:
        raise ValueError(f"epsilon is in pixel scale, 0 to 1; did you mean {value:g}/255?")
    return value


Real = Annotated[float, BeforeValidator(number)]
Fraction = Annotated[float, BeforeValidator(number), Ge(0), Le(1)]
Rate = Annotated[float, BeforeValidator(number), Gt(0), Lt(1)]
NonNegative = Annotated[float, BeforeValidator(number), Ge(0)]
Positive = Annotated[float, BeforeValidator(number), Gt(0)]
Epsilon = Annotated[float, BeforeValidator(pixel_scale), Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
"""A whole number, at least 1."""


SMALLEST, LARGEST = 16, 4096
"""Pixels of a side to which images are resized."""


def _image_size(value: Any) -> Any:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if value == "native" or all(type(side) is int and SMALLEST <= side <= LARGEST for side in sides):
        return value
    raise ValueError(f"must be {SMALLEST} to {LARGEST} pixels, as a number or as [height, width], or native")


ImageSize = Annotated[int | list[int] | Literal["native"], BeforeValidator(_image_size)]
"""A size to which images are resized: a number for square ones, [height, width], or the one size that they all have."""


def of_norm(value: Any, info: ValidationInfo) -> Any:
    """An epsilon in the unit of the field `norm` declared before it."""
    norm = (info.data or {}).get("norm", "linf")
    if norm == "linf":
        return pixel_scale(value)
    value = number(value)
    if norm in PERCENT and isinstance(value, (int, float)) and value > 1:
        raise ValueError(f"epsilon of norm {norm} is a share, 0 to 1; did you mean {value / 100:g}?")
    return value


Radius = Annotated[float, BeforeValidator(of_norm), Ge(0)]
"""An epsilon beside a field `norm` declared before it: at most 1 for linf, patch, spatial; any length for l2, l1."""

NORM_WORDS = {"linf": "L∞", "l2": "L2", "l1": "L1", "patch": "patch", "spatial": "rotation and shift"}
"""How each norm is written for people."""

PERCENT = ("patch", "spatial")
"""Norms whose epsilon is a share."""


def scale(norm: str) -> int:
    """The unit in which an epsilon is shown: grey levels of 255 for linf, percent for shares, plain for lengths."""
    return 255 if norm == "linf" else 100 if norm in PERCENT else 1


def in_255(epsilon: float, norm: str = "linf") -> str:
    """An epsilon in the usual notation: `2/255` for linf, `0.5` for l2 and l1, `2 %` for patch and spatial."""
    if norm in PERCENT:
        return f"{100 * epsilon:.3g} %"
    if scale(norm) == 1:
        return f"{epsilon:.4g}"
    levels = epsilon * 255
    return f"{round(levels)}/255" if abs(levels - round(levels)) < 1e-6 else f"{levels:.3g}/255"


def epsilon_key(epsilon: float) -> float:
    """An epsilon for comparison and lookup: equal for values that differ only by floating-point rounding."""
    return round(float(epsilon), 9)
