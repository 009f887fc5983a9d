"""The size of a dataset's images: a number for square ones, [height, width], or `native`, the one size of its files."""

from __future__ import annotations

from collections import Counter

from assay.contracts import Dataset
from assay.data.images import height_and_width, upright_size
from assay.errors import DataError

SHOWN = 5


def of(dataset: Dataset) -> tuple[int, int]:
    """(H, W) of the decoded images; raises DataError, with the counts, where `native` files differ in size."""
    if dataset.image_size != "native":
        return height_and_width(dataset.image_size)
    sizes = Counter(upright_size(sample.path) for sample in dataset.samples)
    if not sizes:
        raise DataError(f"{dataset.name}: there are no images")
    if len(sizes) > 1:
        counts = ", ".join(f"{count} of {height} x {width}" for (height, width), count in sizes.most_common(SHOWN))
        more = f" and {len(sizes) - SHOWN} more sizes" if len(sizes) > SHOWN else ""
        raise DataError(
            f"{dataset.name}: its images have {len(sizes)} sizes (height x width): {counts}{more}; native images must "
            "all have one: crop or sort them, or resize all by an image_size"
        )
    return next(iter(sizes))


def stated(dataset: Dataset) -> int | list[int]:
    """The size as a manifest states it: the side of square images, or [height, width]."""
    height, width = of(dataset)
    return height if height == width else [height, width]
