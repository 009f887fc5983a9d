"""Loops over pixels compiled by Numba: what modules of kernels are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
"""Sums in any order, but not the freedom to take a NaN for a number."""

images_of = numba.prange
"""`for b in images_of(batch)`: shared out among the threads."""


def compiled(function: Function, **options: bool) -> Function:
    """The function compiled at its first call, or as an earlier process has left it beside the file."""
    try:
        made: Function = numba.njit(cache=True, **OPTIONS, **options)(function)
    except RuntimeError:  # there is no folder that can be written
        made = numba.njit(**OPTIONS, **options)(function)
    return made


def kernel(function: Function) -> Function:
    """As `compiled`, for a function with a loop over `images_of` a batch.

    What it writes to must be an argument by itself: in such a loop Numba drops writes to an array of a named tuple.
    """
    return compiled(function, parallel=True)
