"""Pseudo-anomalies as parameters: which ones are allowed, and how one is made ready for use."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import torch
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.shelves import Item, Shelf, stated

Maker: TypeAlias = Callable[[Tensor, torch.Generator], PseudoAnomalies]


def _on_pixels(item: Item) -> Item:
    space = stated(item.function, "SPACE", "pixels")
    if space != "pixels":
        reason = "'{name}' works on {space}; choose one that works on images (`assay ls pseudo_anomalies`)"
        raise PydanticCustomError("space", reason, {"name": item.name, "space": space})
    return item


OnPixels: TypeAlias = Annotated[Item, Shelf("pseudo_anomalies"), AfterValidator(_on_pixels)]
"""A pseudo-anomaly that works on images; one whose module states another `SPACE` is rejected."""


def ready(item: Item, normals: Tensor) -> Maker:
    """The item with its parameters filled in and, if it is a class, fitted on train normals (N, C, H, W) in [0, 1]."""
    if not inspect.isclass(item.function):
        return functools.partial(item.function, **item.arguments())
    made: Any = item.function(**item.arguments())
    made.fit(normals)
    fitted: Maker = made
    return fitted
