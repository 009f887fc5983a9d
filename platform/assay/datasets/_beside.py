"""Layouts in which the mask of an image lies beside it and says, by what it marks, whether the image is anomalous."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from assay.data import masks
from assay.data.file_facts import in_parallel
from assay.data.images import first_five, image_files
from assay.errors import DataError

KIND = "defect"


class Pair(NamedTuple):
    """An image, its mask, and whether that marks anything."""

    image: Path
    mask: Path
    anomalous: bool


def pairs(folder: Path, ending: str) -> tuple[list[Pair], list[Path]]:
    """Images directly in a folder, their masks of the same name with an ending, and the files that are neither.

    A mask that holds nothing above 0 marks a normal. Raises DataError for an image without a mask and the reverse.
    """
    files, skipped = image_files(folder)
    drawn = {file.stem.removesuffix(ending): file for file in files if file.stem.endswith(ending)}
    shown = {file.stem: file for file in files if not file.stem.endswith(ending)}
    if len(drawn) + len(shown) < len(files):
        raise DataError(f"{folder}: two images or two masks have the same name before the suffix; keep one of them")
    for there, lacking, what in ((shown, drawn, "images have no mask"), (drawn, shown, "masks have no image")):
        if alone := [there[stem] for stem in sorted(set(there) - set(lacking))]:
            raise DataError(
                f"{folder}: {len(alone)} {what}: {first_five(alone)}; without its mask, nothing says whether an image "
                "is normal"
            )
    stems = sorted(shown)
    marks = in_parallel(lambda stem: masks.values(drawn[stem])[-1] > 0, stems)
    return [Pair(shown[stem], drawn[stem], mark) for stem, mark in zip(stems, marks, strict=True)], skipped
