"""Images that are there twice: which have the same pixels at native size, and the file that lists them."""

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

from assay.contracts import Sample, Split
from assay.data.grouped_split import components

Side = Mapping[Split, tuple[Sequence[Sample], Sequence[str]]]
"""Split -> its samples and the names of their pictures, equal for equal ones."""


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
    for samples, pictures in splits.values():
        for sample, picture in zip(samples, pictures, strict=True):
            if (first := seen.setdefault(picture, sample)) is not sample:
                found.append(Pair(first, sample))
    return found


def as_one(samples: Sequence[Sample], pictures: Sequence[str]) -> list[Sample]:
    """The samples of a split, those with the same pixels in one group, so that intervals count them once."""
    counts = Counter(pictures)
    if len(counts) == len(pictures):
        return list(samples)
    keys = components([sample.id for sample in samples], [sample.group for sample in samples], pictures)
    names: dict[str, str] = {}
    for sample, key in zip(samples, keys, strict=True):
        if sample.group is not None:
            names.setdefault(key, sample.group)
    return [
        replace(sample, group=names.get(key, key)) if sample.group is not None or counts[picture] > 1 else sample
        for sample, picture, key in zip(samples, pictures, keys, strict=True)
    ]


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
