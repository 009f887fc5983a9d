"""The MVTec AD folder layout: train/good, test/<kind>, ground_truth/<kind>/<image>_mask.png.

Source: Bergmann et al., MVTec AD: a comprehensive real-world dataset for unsupervised anomaly detection, CVPR 2019.
MPDD, 3CAD, BTAD (`ok` and `ko`) and AutoVI (a folder of masks for each image) have the same layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from assay.data import masks
from assay.datasets._folders import about_unread, as_list, refuse_loose, sub_folders
from assay.datasets._layout import Found, holding
from assay.datasets._reader import published
from assay.datasets._rows import Table
from assay.errors import DataError

NORMALS = ("good", "goods", "ok", "normal", "normals", "no_defect", "defect_free")
"""Names, in any case, by which a folder is taken for one of normals."""
PARTS: tuple[Literal["train", "validation"], ...] = ("train", "validation")
"""Folders of which normals are read."""


@published(holding("train", "test"))
def mvtec(*, root: str, category: str | None = None, normal: str | list[str] | None = None) -> Table:
    """Images in the MVTec AD layout below `root` (or `root/category`), keeping the published split where possible.

    category: a folder, several of them for one model over all, or `all`.
    normal: names of the folders of normals; by default the only one below `train`. All of their test images stay test.
    A folder `validation` with one of these holds the normals for validation, and none is taken from `train`.
    Masks lie in ground_truth/<kind>, as <image>_mask or <image> with any suffix, or in a folder called <image>.
    Files that are not images are skipped; these, missing masks and empty masks are counted in the notes.
    Raises DataError if the layout is missing, InputError for an unknown kind or more anomalies than may be drawn.
    """
    base = Path(root).expanduser() / (category or "")
    if not base.is_dir():
        raise DataError(f"{base}: no such folder; check root and category")
    for needed in ("train", "test"):
        if not (base / needed).is_dir():
            there = [path.name for path in sub_folders(base)]
            hint = f"; it holds the folders {masks.named(there)}" if there else ""
            raise DataError(
                f"{base}: no folder {needed}; root (with category) must hold train/good and test/<kind>{hint}"
            )
        refuse_loose(base / needed)
    normals = _normals(base, normal)
    found = Found()
    for part in PARTS:
        for name in normals:
            if (base / part / name).is_dir():
                found.add(base, f"{part}/{name}", part)
    for folder in sub_folders(base / "test"):
        kind = None if folder.name in normals else folder.name
        found.add(base, f"test/{folder.name}", "test", kind, base / "ground_truth" / folder.name)
    found.note_strays(base / "ground_truth")
    found.notices += about_unread(base, [base / name for name in (*PARTS, "test", "ground_truth")])
    for part in PARTS:
        if (base / part).is_dir():
            found.notices += about_unread(base / part, [base / part / name for name in normals])
    return found.table(category or base.resolve().name)


def _normals(base: Path, wanted: str | list[str] | None) -> list[str]:
    """The names of the folders of normals; raises DataError where that would be a guess."""
    trained = [folder.name for folder in sub_folders(base / "train")]
    if wanted is not None:
        names = as_list(wanted)
        if not set(names) & set(trained):
            raise DataError(
                f"{base / 'train'}: no folder {' or '.join(names)}; it holds {', '.join(trained) or 'none'}"
            )
        return names
    if len(trained) != 1:
        raise DataError(
            f"{base / 'train'}: it holds {', '.join(trained) or 'no folder'}; say which are normals with `normal`, "
            "such as `normal: good`"
        )
    alike = [
        folder.name
        for folder in sub_folders(base / "test")
        if folder.name.casefold() in NORMALS and folder.name != trained[0]
    ]
    if alike:
        raise DataError(
            f"{base / 'test'}: {', '.join(alike)} is called like a folder of normals, and the images to train on lie "
            f"in train/{trained[0]}. If it holds normals, set `normal: [{', '.join([*trained, *alike])}]`; if it holds "
            f"defects, set `normal: {trained[0]}`"
        )
    return trained
