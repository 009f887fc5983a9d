"""Losses as parameters of trainables: which may stand for the classification term."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from assay.shelves import Item, Shelf, stated


def _on_logits(item: Item) -> Item:
    if stated(item.function, "OF", "") != "logits":
        reason = "'{name}' is no loss of logits (B,) and labels (B,); use classification, focal or deviation"
        raise PydanticCustomError("of", reason, {"name": item.name})
    return item


OnLogits: TypeAlias = Annotated[Item, Shelf("losses"), AfterValidator(_on_logits)]
"""A loss of logits and labels, whose module says `OF = "logits"`."""
