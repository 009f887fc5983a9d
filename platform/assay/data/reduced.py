"""Fewer and smaller images for the lower rungs of a fidelity ladder."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from assay.contracts import Images, TrainingData

T = TypeVar("T")


def reduced(data: TrainingData, share: float, side: int | None, seed: int) -> TrainingData:
    """A share of the train images, drawn by seed, and all images so small that their longer side is `side`.

    At least one train image is kept, and no image is enlarged. Validation images stay, whatever the share: figures of
    a rung are all of the same images. side: None for the images as they are.
    """
    train = data.train
    if share < 1:
        count = max(1, round(share * len(train)))
        train = _some(train, np.sort(np.random.default_rng(seed).permutation(len(train))[:count]))
    height, width = data.validation.pixels.shape[2:]
    if side is None or side >= max(height, width):
        return replace(data, train=train)
    size = tuple(max(1, round(length * side / max(height, width))) for length in (height, width))
    description = data.description.copy()
    description["image_size"] = size[0] if size[0] == size[1] else list(size)
    return TrainingData(_shrunk(train, size), _shrunk(data.validation, size), description, _shrunk(data.labelled, size))


def _some(images: Images, at: NDArray[np.int64]) -> Images:
    """The images at these places."""

    def of(given: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(given[place] for place in at) if given else ()

    return Images(
        images.pixels[at],
        images.labels[at],
        of(images.ids),
        of(images.defects),
        of(images.hashes),
        of(images.groups),
        of(images.categories),
    )


def _shrunk(images: Images, size: tuple[int, ...]) -> Images:
    """Every pixel the mean of those that it stands for."""
    import torch
    from torch.nn import functional as F

    if not len(images):
        return images
    found = np.empty((*images.pixels.shape[:2], *size), np.uint8)
    batch = max(1, 2**24 // math.prod(images.pixels.shape[1:]))
    for first in range(0, len(images), batch):
        part = torch.from_numpy(np.array(images.pixels[first : first + batch])).float()
        found[first : first + batch] = F.interpolate(part, size=size, mode="area").round().to(torch.uint8).numpy()
    return replace(images, pixels=found)
