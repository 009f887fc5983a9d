"""What was read of a dataset, without training: counts, sizes, depths, groups, repeats, masks, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.contracts import Dataset, Sample
from assay.data import duplicates, file_facts, image_size, masks, near_duplicates, splits
from assay.data.images import ON_ITS_SIDE, stored
from assay.data.missing import missing
from assay.errors import DataError

REPEATS = {"refuse": "each counts once in every interval", "drop": "left out", "allow": "taken as they are"}
DEEP = ("I;16", "I")
"""The beginnings of Pillow's modes with 16 bits."""


@dataclass(frozen=True)
class Masks:
    """How many anomalies have a mask and how many have none, how many masks mark nothing, above which value.

    smallest, median, largest: shares of the image that are marked, of masks that mark something; None without one.
    """

    there: int
    without: int
    empty: int
    above: int
    smallest: float | None = None
    median: float | None = None
    largest: float | None = None

    def __str__(self) -> str:
        if not self.there:
            return "none"
        said = f"{self.there} anomalies have one, {self.without} none; {self.empty} mark nothing"
        if self.smallest is None or self.median is None or self.largest is None:
            return said
        low, middle, high = (
            f"{100 * share:.{1 if share >= 0.01 else 2}f}" for share in (self.smallest, self.median, self.largest)
        )
        return f"{said}; a pixel above {self.above} is marked: {low} to {high} % of an image, median {middle} %"


@dataclass(frozen=True)
class Summary:
    """What is known of a dataset before anything is trained on it.

    counts: split -> kind -> images. groups: split -> groups, empty where no image has one. sizes: `H x W` -> images,
    the most frequent first. files: `PNG, L, 8 bit` -> files. turned: files that EXIF turns. largest: the largest value
    of all 16-bit files, 0 without any. repeats: images with the pixels of an earlier one; nearly: pairs in two splits
    that are nearly the same; pairs: the first of both; listed: the file that holds all. notices: of the reader.
    missing: what a sweep lacks, with the key that helps. refused: why no sweep would start, or "".
    """

    name: str
    licence: str
    input: str
    counts: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, int]
    sizes: Mapping[str, int]
    files: Mapping[str, int]
    turned: int
    largest: int
    repeats: int
    what_of_repeats: str
    nearly: int
    pairs: Sequence[str]
    listed: str
    masks: Masks
    notices: Sequence[str]
    missing: Sequence[str]
    refused: str

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def summary(dataset: Dataset, cache: Path | None = None) -> Summary:
    """Look at every image once; raises DataError for a file that cannot be read, whatever a sweep would refuse."""
    if not dataset.samples:
        raise DataError(f"{dataset.name}: there are no images")
    by_split = splits.decoded_splits(dataset, cache)
    same = duplicates.repeated({name: (of, images.pictures) for name, (of, images) in by_split.items()})
    nearly = near_duplicates.near(by_split, cache)
    listed = duplicates.listed(cache or file_facts.default_folder(), same, nearly)
    sizes, files, turned = _headers(dataset.samples)
    refused = ""
    try:
        splits.training_data(dataset, cache=cache)
    except DataError as error:
        refused = str(error)
    shown = [str(pair) for pair in same[:5]] + [str(pair).replace(" = ", " ~ ") for pair in nearly[:5]]
    height, width = image_size.of(dataset)
    return Summary(
        name=dataset.name,
        licence=dataset.licence,
        input=f"{height} x {width}, {'grey' if dataset.channels == 1 else 'RGB'}, {dataset.fit}, {dataset.filter}",
        counts={name: dict(sorted(_kinds(of).items(), key=_normal_first)) for name, (of, _) in by_split.items()},
        groups=_groups(by_split),
        sizes=dict(sizes.most_common()),
        files=dict(files.most_common()),
        turned=turned,
        largest=max((max(images.largest) for _, images in by_split.values()), default=0),
        repeats=len(same),
        what_of_repeats=REPEATS[dataset.duplicates],
        nearly=len(nearly),
        pairs=shown,
        listed=str(listed or ""),
        masks=_masks(dataset),
        notices=[*dataset.notices, *splits.about_oddities(by_split), *splits.about_depth(dataset, by_split)],
        missing=missing(dataset),
        refused=refused,
    )


def _headers(samples: Sequence[Sample]) -> tuple[Counter[str], Counter[str], int]:
    """Sizes, kinds of files, and how many are turned by EXIF."""
    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    turned = 0
    for image, turn in file_facts.in_parallel(lambda s: stored(s.path, header_only=True), samples):
        height, width = (image.width, image.height) if turn in ON_ITS_SIDE else (image.height, image.width)
        sizes[f"{height} x {width}"] += 1
        files[f"{image.format}, {image.mode}, {16 if image.mode.startswith(DEEP) else 8} bit"] += 1
        turned += turn != 1
    return sizes, files, turned


def _kinds(samples: Sequence[Sample]) -> Counter[str]:
    return Counter(sample.defect if sample.label else "normal" for sample in samples)


def _normal_first(item: tuple[str, int]) -> tuple[bool, str]:
    return item[0] != "normal", item[0]


def _groups(by_split: splits.BySplit) -> dict[str, int]:
    groups = {name: {s.group or s.id for s in of} for name, (of, _) in by_split.items()}
    known = any(sample.group is not None for of, _ in by_split.values() for sample in of)
    return {name: len(names) for name, names in groups.items()} if known else {}


def _masks(dataset: Dataset) -> Masks:
    """Shares are of the image at the size at which detectors see it."""
    anomalies = [sample for sample in dataset.samples if sample.label]
    marked = [sample for sample in anomalies if sample.masks]
    size = image_size.of(dataset)
    shares = np.array(
        [*file_facts.in_parallel(lambda s: masks.mask(s, size, dataset.mask_above, dataset.fit).mean(), marked)]
    )
    found = shares[shares > 0]
    counts = (len(marked), len(anomalies) - len(marked), len(shares) - len(found), dataset.mask_above)
    if not len(found):
        return Masks(*counts)
    return Masks(*counts, float(found.min()), float(np.median(found)), float(found.max()))
