"""Images of two splits that are nearly the same picture, found once and remembered.

Nearly the same are two images whose difference hash (256 bits: is a cell of a 16 x 17 thumbnail brighter than the one
to its left?) differs in few bits and whose thumbnails hardly differ in brightness: saved anew, resized, or taken a
moment later. A crop or another exposure is not found.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.contracts import Sample, Split
from assay.data import file_facts
from assay.data.decode_cache import Decoded
from assay.data.duplicates import Pair

log = logging.getLogger(__name__)

BITS, LEVELS = 8, 1.0
"""Of the difference hash and of 255 grey levels, how far apart two pictures may be that are nearly the same.

On the brain scans of Kaggle all pairs that people call copies are within 7 bits and 0.7 levels; of 4.5 million pairs of
MNIST's digits, which are alike but no copies, none is within both.
"""
ROWS, COLUMNS, AT_ONCE = 16, 17, 256
MOST = 30_000
"""Images of which all pairs are compared in seconds; of more, only the same pixels are found."""
VERSION = 1
"""Increase whenever other pairs may be found in the same images: what is remembered is keyed by it."""

Row = tuple[int, int]
"""The places of both images of a pair, counted over all splits."""


def near(splits: Mapping[Split, tuple[Sequence[Sample], Decoded]], folder: Path | None = None) -> list[Pair]:
    """Pairs of samples in two splits whose pictures are nearly, but not exactly, the same; none of more than MOST.

    Splits to train on count as one. What was found is kept in `folder`, the cache of decoded images.
    """
    samples = [sample for of, _ in splits.values() for sample in of]
    if not 0 < len(samples) <= MOST:
        return []
    sides = [sample.split if sample.split in ("test", "validation") else "train" for sample in samples]
    hashes = [hash for _, images in splits.values() for hash in images.hashes]
    pictures = [picture for _, images in splits.values() for picture in images.pictures]
    about = json.dumps([VERSION, BITS, LEVELS, sides, hashes, pictures])
    file = (folder or file_facts.default_folder()) / f"near-{hashlib.sha256(about.encode()).hexdigest()}.json"
    rows = _read(file, len(samples))
    if rows is None:
        small = np.concatenate([thumbnails(images.pixels) for _, images in splits.values()])
        rows = _close(small, np.array(sides), np.array(pictures))
        _write(file, rows)
    return [Pair(samples[one], samples[other]) for one, other in rows]


def _close(small: NDArray[np.float32], sides: NDArray[np.str_], pictures: NDArray[np.str_]) -> list[Row]:
    """Pairs of thumbnails of two sides and two pictures that are nearly the same, the smaller place first."""
    hashes = np.packbits(small[:, :, 1:] > small[:, :, :-1], axis=None).reshape(-1, 32).view(np.uint64)
    found: list[Row] = []
    for start in range(0, len(small), AT_ONCE):
        mine = slice(start, start + AT_ONCE)
        apart = np.zeros((len(hashes[mine]), len(hashes)), dtype=np.uint16)
        for word in range(hashes.shape[1]):
            apart += np.bitwise_count(hashes[mine, word, None] ^ hashes[None, :, word])
        close = (apart <= BITS) & (sides[mine, None] != sides[None]) & (pictures[mine, None] != pictures[None])
        for row, column in np.argwhere(close):
            if start + row < column and np.abs(small[start + row] - small[column]).mean() <= LEVELS:
                found.append((int(start + row), int(column)))
    return found


def thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean brightness (N, 16, 17), 0 to 255, of the cells of images (N, C, H, W)."""
    height, width = pixels.shape[2:]
    made = [np.empty((0, ROWS, COLUMNS), np.float32)]
    for start in range(0, len(pixels), AT_ONCE):
        grey = pixels[start : start + AT_ONCE].mean(axis=1, dtype=np.float32)
        for axis, (cells, side) in enumerate(((ROWS, height), (COLUMNS, width)), start=1):
            edges = np.arange(cells) * side // cells
            sizes = np.maximum(np.diff(edges, append=side), 1)
            shape = (-1, 1) if axis == 1 else (-1,)
            grey = np.add.reduceat(grey, edges, axis=axis) / sizes.reshape(shape).astype(np.float32)
        made.append(grey)
    return np.concatenate(made)


def _read(file: Path, count: int) -> list[Row] | None:
    """The pairs that were found, None where nothing is remembered or it is damaged."""
    try:
        rows = [(int(one), int(other)) for one, other in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None
    return rows if all(0 <= one < other < count for one, other in rows) else None


def _write(file: Path, rows: list[Row]) -> None:
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(json.dumps(rows), encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        log.warning("pairs that are nearly the same cannot be kept (%s); they will be looked for anew", error)
