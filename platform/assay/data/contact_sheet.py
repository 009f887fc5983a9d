"""A contact sheet: an image and what a shelf item turns it into, side by side in one image file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from assay import shelves
from assay.data.images import RESAMPLING, open_image
from assay.errors import DataError, InputError

DRAWS = 8
SEVERITIES = (1, 2, 3, 4, 5)
LARGEST = 256
"""Longest side in pixels; larger images are shrunk to it."""

GAP, PAPER = 4, 128


def draw(shelf: str, item: Callable[..., Any], values: Mapping[str, Any], image: Path, seed: int) -> Image.Image:
    """The sheet of an item of one of SHELVES with the parameters `values`, applied to an image file.

    A pseudo-anomaly: the image and eight draws, with their masks below, white where something changed. A corruption:
    the image and the five severities. Raises InputError for a file that is not an image and an item that cannot be
    shown on an image, pydantic.ValidationError for wrong parameters.
    """
    if shelf not in SHELVES:
        raise InputError(f"items of {shelf} cannot be shown on an image; --image goes with {' and '.join(SHELVES)}")
    arguments = shelves.bind(item, values)
    return _sheet(SHELVES[shelf](item, arguments, _read(image), seed))


def save(sheet: Image.Image, output: Path) -> None:
    """Write a sheet in the format given by the file suffix; raises InputError if that fails."""
    try:
        sheet.save(output)
    except (OSError, ValueError) as error:
        raise InputError(f"{output}: cannot be written ({error}); name a file such as sheet.png") from error


def _read(path: Path) -> Tensor:
    """The image (1, C, H, W) in [0, 1], no side longer than LARGEST, in grey or colour like the file."""
    if not path.exists():
        raise InputError(f"{path}: no such file; give --image an image file")
    try:
        image = open_image(path)
    except DataError as error:
        raise InputError(f"{error}, or give --image another file") from error
    shrink = min(1.0, LARGEST / max(image.size))
    image = image.resize((round(image.width * shrink) or 1, round(image.height * shrink) or 1), RESAMPLING)
    pixels = torch.from_numpy(np.array(image)).float() / 255
    return pixels[None, None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)[None]


def _pseudo_anomalies(item: Callable[..., Any], arguments: Mapping[str, Any], image: Tensor, seed: int) -> list[Tensor]:
    """The image, eight draws, an empty tile, and their masks. Each draw is its own batch, independent of the others."""
    if shelves.stated(item, "SPACE", "pixels") != "pixels":
        raise InputError(f"{item.__name__} works on features, not on images, so it cannot be shown on one")
    generator = torch.Generator().manual_seed(seed)
    if inspect.isclass(item):
        fitted: Any = item(**arguments)
        fitted.fit(image)
        drawn = [fitted(image, generator) for _ in range(DRAWS)]
    else:
        drawn = [item(image, generator, **arguments) for _ in range(DRAWS)]
    masks = [one.mask.to(image).expand_as(image) for one in drawn]
    return [image, *(one.images for one in drawn), torch.full_like(image, PAPER / 255), *masks]


def _corruptions(item: Callable[..., Any], arguments: Mapping[str, Any], image: Tensor, seed: int) -> list[Tensor]:
    """The image and the five severities, each with the same random numbers."""
    return [image, *(item(image, s, [torch.Generator().manual_seed(seed)], **arguments) for s in SEVERITIES)]


SHELVES = {"pseudo_anomalies": _pseudo_anomalies, "corruptions": _corruptions}
"""Shelf -> function that makes the tiles (1, C, H, W) of one of its items, the original image first."""


def _sheet(pictures: list[Tensor]) -> Image.Image:
    """Tiles of one size in rows of at most nine, on grey."""
    columns = min(len(pictures), 1 + DRAWS)
    rows = -(-len(pictures) // columns)
    channels, height, width = pictures[0].shape[1:]
    paper = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), PAPER, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        pixels = (picture[0] * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        paper[top : top + height, left : left + width] = pixels.numpy()
    return Image.fromarray(paper[..., 0] if channels == 1 else paper)
