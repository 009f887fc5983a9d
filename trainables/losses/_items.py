"""Losses as parameters of trainables: which ones can serve as the classification term."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from assay.shelves import Item, Shelf, stated


def _on_logits(item: Item) -> Item:
    if stated(item.function, "OF", "") != "logits":
        reason = "'{name}' is not a loss of logits (B,) and labels (B,); use classification, focal or deviation"
        raise PydanticCustomError("of", reason, {"name": item.name})
    return item


OnLogits: TypeAlias = Annotated[Item, Shelf("losses"), AfterValidator(_on_logits)]
"""A loss of logits and labels, whose module sets `OF = "logits"`."""
