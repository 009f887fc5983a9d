"""KolektorSDD and KolektorSDD2: surfaces of commutators, with a mask beside every image that marks nothing on normals.

Layouts: kosNN/PartM.jpg with PartM_label.bmp, eight images of each of 50 items and no split (KolektorSDD); train and
test with NNNNN.png and NNNNN_GT.png (KolektorSDD2).
Sources: Tabernik et al., Segmentation-based deep-learning approach for surface-defect detection, J. Intell. Manuf.
2020; Bozic et al., Mixed supervision for surface-defect detection, Computers in Industry 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from assay.datasets._beside import KIND, pairs
from assay.datasets._folders import about_skipped, sub_folders
from assay.datasets._reader import either
from assay.datasets._rows import Row, Table
from assay.errors import DataError

LICENCE = "CC BY-NC-SA 4.0: non-commercial use only"
PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")


@either()
def kolektor(*, root: str) -> Table:
    """Images of KolektorSDD or KolektorSDD2 below `root`, told apart by their folders; the kind of defects is `defect`.

    An image is anomalous where its mask holds anything above 0. KolektorSDD is split by seed, and the images of an item
    are a group. Nearly every item has one image with a defect, so that the defects of items to train on are set aside
    and counted. Of KolektorSDD2 the split is kept, and the defects published for training are set aside.
    Raises DataError where the layout is missing and for images without a mask.
    """
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(f"{base}: no such folder; check the path")
    items = [folder for folder in sub_folders(base) if folder.name.startswith("kos")]
    rows: list[Row] = []
    skipped: list[Path] = []
    if not items and not all((base / part).is_dir() for part in PARTS):
        raise DataError(f"{base}: neither folders kos01, kos02 ... (KolektorSDD) nor train and test (KolektorSDD2)")
    for folder in items or [base / part for part in PARTS]:
        split = None if items else PARTS[folder.name == "test"]
        found, others = pairs(folder, "_label" if items else "_GT")
        skipped += others
        for image, mask, bad in found:
            id_ = image.relative_to(base).as_posix()
            group = folder.name if items else None
            rows.append(Row(id_, image, int(bad), KIND, split, group, (mask,) if bad else ()))
    notices = tuple(about_skipped(skipped))
    return Table(base.resolve().name, rows, LICENCE, {"files_skipped": len(skipped)}, notices, mask_above=0)
