"""DAGM 2007: ten textures, half of each to train on, with defects in both halves.

Layout: ClassN/{Train,Test}/NNNN.PNG, and for images with a defect Label/NNNN_label.PNG, a coarse ellipse.
Source: Wieler and Hahn, Weakly Supervised Learning for Industrial Optical Inspection, DAGM 2007.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from assay.data import masks
from assay.data.images import image_files
from assay.datasets._beside import KIND
from assay.datasets._folders import about_skipped
from assay.datasets._layout import holding
from assay.datasets._reader import published
from assay.datasets._rows import Row, Table
from assay.errors import DataError

PARTS: dict[str, Literal["train", "test"]] = {"Train": "train", "Test": "test"}


@published(holding("Train", "Test"))
def dagm(*, root: str, category: str | None = None) -> Table:
    """Images of DAGM 2007 below `root` (or `root/category`, such as Class1); the kind of defects is `defect`.

    An image without a mask in Label is normal. The split is kept; the defects in Train are set aside and counted.
    Raises DataError where the layout is missing and for a mask without an image.
    """
    base = Path(root).expanduser() / (category or "")
    rows: list[Row] = []
    skipped: list[Path] = []
    for part, split in PARTS.items():
        if not (base / part / "Label").is_dir():
            raise DataError(f"{base}: no folder {part}/Label; root (with category) must be a class of DAGM 2007")
        files, others = image_files(base / part)
        skipped += others
        drawn = {file.stem for file in image_files(base / part / "Label")[0]}
        if alone := sorted(drawn - {f"{file.stem}_label" for file in files}):
            raise DataError(f"{base / part}: {len(alone)} masks have no image: {masks.named(alone)}")
        marked = masks.by_name(base / part / "Label", [file.stem for file in files], endings=("_label",))
        rows += [
            Row(
                file.relative_to(base).as_posix(),
                file,
                int(file.stem in marked),
                KIND,
                split,
                masks=tuple(marked.get(file.stem, ())),
            )
            for file in files
        ]
    notices = tuple(about_skipped(skipped))
    return Table(category or base.resolve().name, rows, notes={"files_skipped": len(skipped)}, notices=notices)
