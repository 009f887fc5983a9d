"""Finds backbones in a search space whose first layer is made for images of 32 to 64 pixels, where images are large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from assay import shelves
from assay.config import labels_needed

if TYPE_CHECKING:
    from assay.config.search_space import Spec

LARGE = 96
"""Pixels of the shorter side from which on `imagenet` sees enough of an image."""


def notes(spec: Spec, image_size: int | Sequence[int] | None = None) -> list[str]:
    """A sentence for each backbone with `stem: cifar` that is given large images: it costs 15 times as much there.

    image_size: of the images as they were read; without it that of the search space, of which `native` says nothing.
    """
    size = image_size or spec.dataset.arguments().get("image_size")
    side = min(size) if isinstance(size, list | tuple) else size
    if not isinstance(side, int) or side <= LARGE:
        return []
    configured = labels_needed.configured(spec.trainable, spec.fixed, spec.space)
    names = sorted({name for _, given in configured for name in _small(given)})
    return [
        f"{name} with stem cifar works 15 times as long on images of {side} pixels as with `stem: imagenet`, which "
        f"is meant for more than {LARGE}"
        for name in names
    ]


def _small(given: Any) -> Iterator[str]:
    """The names of the backbones with that stem, anywhere in a configuration."""
    for key, value in given.items() if isinstance(given, dict) else ():
        if key == "backbone":
            name, own = shelves.normal_form(value)
            stem = shelves.fields(shelves.load("backbones", name)).get("stem")
            if own.get("stem", stem.default if stem else None) == "cifar":
                yield name
        yield from _small(value)
