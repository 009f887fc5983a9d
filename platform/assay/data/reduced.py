"""Fewer images, and smaller ones: some of them, or those of the lower rungs of a fidelity ladder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assay.contracts import Images, TrainingData


def take(images: Images, chosen: Sequence[int] | NDArray[np.int64]) -> Images:
    """Some of the images, with their pixels copied into memory so that they can be sent to a worker."""
    at = np.asarray(chosen, dtype=np.int64)
    return Images(
        np.array(images.pixels[at]),
        np.array(images.labels[at]),
        tuple(images.ids[i] for i in at),
        tuple(images.defects[i] for i in at),
        tuple(images.hashes[i] for i in at),
        tuple(images.groups[i] for i in at) if images.groups else (),
        tuple(images.categories[i] for i in at) if images.categories else (),
    )


def reduced(data: TrainingData, share: float, side: int | None, seed: int) -> TrainingData:
    """A share of the train images, drawn by seed, and all images so small that their longer side is `side`.

    At least one train image is kept, and no image is enlarged. Validation images stay, whatever the share: figures of
    a rung are all of the same images. side: None for the images as they are.
    """
    train = data.train
    if share < 1:
        count = max(1, round(share * len(train)))
        train = take(train, np.sort(np.random.default_rng(seed).permutation(len(train))[:count]))
    height, width = data.validation.pixels.shape[2:]
    if side is None or side >= max(height, width):
        return replace(data, train=train)
    size = tuple(max(1, round(length * side / max(height, width))) for length in (height, width))
    description = data.description.copy()
    description["image_size"] = size[0] if size[0] == size[1] else list(size)
    return TrainingData(_shrunk(train, size), _shrunk(data.validation, size), description, _shrunk(data.labelled, size))


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
