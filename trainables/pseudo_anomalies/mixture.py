"""Mixture: one of several pseudo-anomalies, drawn per image; a search can vary the mix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import torch
from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.errors import InputError
from assay.shelves import Item
from assay.units import NonNegative
from trainables.pseudo_anomalies._draws import uniform
from trainables.pseudo_anomalies._items import OnPixels, ready
from trainables.pseudo_anomalies._paste import paste_into, unchanged

Way: TypeAlias = Callable[[PseudoAnomalies, Tensor, Tensor, torch.Generator], None]


class Part(BaseModel):
    """One pseudo-anomaly of a mixture and how often it is drawn, relative to the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: OnPixels
    weight: NonNegative = 1.0


DEFAULT = {name: Part(item=Item("pseudo_anomalies", name, {})) for name in ("cutpaste", "scar")}


class Mixture:
    """Images (B, C, H, W) in [0, 1], each changed by one of several pseudo-anomalies drawn for it.

    of: the parts, under names of your choice: `{patch: {item: {cutpaste: {area: 0.1}}, weight: 2}, line: {item:
    scar}}`. An item is drawn in proportion to its weight, 1 by default; 0 leaves it out. A search space can vary both
    weights and the items' parameters: `{patch: {item: cutpaste, weight: {uniform: [0, 1]}}, ...}`.
    Raises InputError if every weight is 0.

    Looks like: any one of its parts.
    """

    def __init__(self, *, of: Annotated[dict[str, Part], MinLen(1)] = DEFAULT) -> None:
        self.parts = [part for part in of.values() if part.weight]
        if not self.parts:
            raise InputError("every weight of the mixture is 0, so there is nothing to draw; raise one of them")
        self.ways: list[Way] = []

    def fit(self, normals: Tensor) -> None:
        """Fit the parts to train normals (N, C, H, W)."""
        self.ways = [_way(part.item, normals) for part in self.parts]

    def __call__(self, images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
        """Apply one of the parts to every image; a part that mixes images of a batch may use any of the batch."""
        weights = torch.tensor([part.weight for part in self.parts], device=images.device)
        limits = weights.cumsum(0) / weights.sum()
        chosen = torch.searchsorted(limits, uniform(images, generator), right=True).clamp(max=len(weights) - 1)
        made = unchanged(images)
        for number, way in enumerate(self.ways):
            way(made, images, chosen == number, generator)
        return made


def _way(item: Item, normals: Tensor) -> Way:
    """The item, written into the images drawn for it; one that only pastes does so without copying them."""
    drawing = getattr(item.function, "drawing", None)
    if drawing:

        def way(made: PseudoAnomalies, images: Tensor, own: Tensor, generator: torch.Generator) -> None:
            paste_into(made, drawing(images, generator, **item.arguments()), own)

    else:
        make = ready(item, normals)

        def way(made: PseudoAnomalies, images: Tensor, own: Tensor, generator: torch.Generator) -> None:
            if own.any():
                made.images[own], made.mask[own] = make(images[own], generator)

    return way
