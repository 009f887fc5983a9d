"""Images that are there twice: the same pixels, or a picture that is nearly another one.

The same pixels are found by their hash at native size. Nearly the same are two images whose difference hash (256 bits:
is a cell of a 16 x 17 thumbnail brighter than the one to its left?) differs in few bits and whose thumbnails hardly
differ in brightness: saved anew, resized, or taken a moment later. A crop or another exposure is not found.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.contracts import Sample, Split
from assay.data.grouped_split import components

BITS, LEVELS = 8, 1.0
"""Of the difference hash and of 255 grey levels, how far apart two pictures may be that are nearly the same.

On the brain scans of Kaggle all pairs that people call copies are within 7 bits and 0.7 levels; of 4.5 million pairs of
MNIST's digits, which are alike but no copies, none is within both.
"""
ROWS, COLUMNS, AT_ONCE = 16, 17, 256
MOST = 30_000
"""Images of which all pairs are compared in seconds; of more, only the same pixels are found."""

Side = Mapping[Split, tuple[Sequence[Sample], Sequence[str]]]
"""Split -> its samples and the hashes of their pixels."""


class Pair(NamedTuple):
    """Two samples with the same picture, or nearly the same; `one` comes first by split and id."""

    one: Sample
    other: Sample

    def __str__(self) -> str:
        words = [sample.split if self.one.split != self.other.split else sample.defect for sample in self]
        if words[0] == words[1]:
            return f"{self.one.id} = {self.other.id}"
        return f"{self.one.id} ({words[0]}) = {self.other.id} ({words[1]})"


def repeated(splits: Side) -> list[Pair]:
    """Every sample whose pixels an earlier one has, with that one."""
    seen: dict[str, Sample] = {}
    found = []
    for samples, contents in splits.values():
        for sample, content in zip(samples, contents, strict=True):
            if (first := seen.setdefault(content, sample)) is not sample:
                found.append(Pair(first, sample))
    return found


def as_one(samples: Sequence[Sample], contents: Sequence[str]) -> list[Sample]:
    """The samples of a split, those with the same pixels in one group, so that intervals count them once."""
    counts = Counter(contents)
    if len(counts) == len(contents):
        return list(samples)
    keys = components([sample.id for sample in samples], [sample.group for sample in samples], contents)
    names: dict[str, str] = {}
    for sample, key in zip(samples, keys, strict=True):
        if sample.group is not None:
            names.setdefault(key, sample.group)
    return [
        replace(sample, group=names.get(key, key)) if sample.group is not None or counts[content] > 1 else sample
        for sample, content, key in zip(samples, contents, keys, strict=True)
    ]


def near(splits: Mapping[Split, tuple[Sequence[Sample], Sequence[str], NDArray[np.uint8]]]) -> list[Pair]:
    """Pairs of samples in two splits whose pictures are nearly, but not exactly, the same.

    splits: samples, hashes of their pixels and the pixels (N, C, H, W) themselves. Splits to train on count as one.
    """
    samples = [sample for of, _, _ in splits.values() for sample in of]
    contents = np.array([content for _, of, _ in splits.values() for content in of])
    sides = np.array(["test" if s.split == "test" else s.split == "validation" for s in samples])
    small = np.concatenate([thumbnails(pixels) for _, _, pixels in splits.values()])
    hashes = np.packbits(small[:, :, 1:] > small[:, :, :-1], axis=None).reshape(-1, 32).view(np.uint64)
    found = []
    for start in range(0, len(samples), AT_ONCE):
        mine = slice(start, start + AT_ONCE)
        apart = np.zeros((len(hashes[mine]), len(hashes)), dtype=np.uint16)
        for word in range(hashes.shape[1]):
            apart += np.bitwise_count(hashes[mine, word, None] ^ hashes[None, :, word])
        close = (apart <= BITS) & (sides[mine, None] != sides[None]) & (contents[mine, None] != contents[None])
        for row, column in np.argwhere(close):
            if start + row < column and np.abs(small[start + row] - small[column]).mean() <= LEVELS:
                found.append(Pair(samples[start + row], samples[column]))
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


def listed(folder: Path, same: Sequence[Pair], nearly: Sequence[Pair]) -> Path | None:
    """The CSV file in `folder` that lists all pairs, written if it is not there; None without any pair.

    Its name is a hash of what it lists, so that no list overwrites another.
    """
    rows = [["same", *_cells(pair)] for pair in same] + [["nearly", *_cells(pair)] for pair in nearly]
    if not rows:
        return None
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["pixels", "image", "split", "kind", "file", "image_2", "split_2", "kind_2", "file_2"])
    writer.writerows(rows)
    file = folder / f"duplicates-{hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]}.csv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(stream.getvalue(), encoding="utf-8")
    return file


def _cells(pair: Pair) -> Iterator[str]:
    for sample in pair:
        yield from (sample.id, sample.split, sample.defect, str(sample.path))
