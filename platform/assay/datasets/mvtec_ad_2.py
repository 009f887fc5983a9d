"""MVTec AD 2: parts photographed under up to six lights, normals of its own for validation, and private test sets.

Layout: train/good, validation/good, test_public/{good,bad}/NNN_<light>.png, test_public/ground_truth/bad with
NNN_<light>_mask.png, and test_private and test_private_mixed without labels.
Source: Heckler-Kram et al., The MVTec AD 2 Dataset: Advanced Scenarios for Unsupervised Anomaly Detection, 2025.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from assay.data.images import first_five, image_files
from assay.datasets._folders import sub_folders
from assay.datasets._layout import Found, holding
from assay.datasets._reader import published
from assay.datasets._rows import Table
from assay.errors import DataError, InputError

LICENCE = "CC BY-NC-SA 4.0: non-commercial use only"
Light = Literal["regular", "overexposed", "underexposed", "shift_1", "shift_2", "shift_3"]
NAME = re.compile(r"(?P<part>.+?)_(?P<light>regular|overexposed|underexposed|shift_[1-3])")
PUBLIC = "test_public"
PARTS: dict[str, tuple[Literal["train", "validation", "test"], str | None]] = {
    "train/good": ("train", None),
    "validation/good": ("validation", None),
    f"{PUBLIC}/good": ("test", None),
    f"{PUBLIC}/bad": ("test", "bad"),
}
"""Folder -> its split and its kind of defect."""


@published(holding("train", "test_public"))
def mvtec_ad_2(*, root: str, category: str | None = None, lights: list[Light] | None = None) -> Table:
    """Images of MVTec AD 2 below `root` (or `root/category`), with its public test set; the kind of defects is `bad`.

    lights: those to read, by default all. Images of one part under several lights are a group: they stay in one split,
    and intervals resample parts. Normals for validation are those published for it. The private test sets have no
    labels; they are not read, and a notice says so. Raises DataError where the layout is missing, for files whose name
    says no light.
    """
    base = Path(root).expanduser() / (category or "")
    for needed in PARTS:
        if not (base / needed).is_dir():
            raise DataError(f"{base}: no folder {needed}; root (with category) must be one category of MVTec AD 2")
    if lights == []:
        raise InputError("lights is empty; leave it out to read all")

    def wanted(file: Path) -> bool:
        return lights is None or _name(file)["light"] in lights

    def group(file: Path) -> str:
        return f"{file.parent.relative_to(base).as_posix()}/{_name(file)['part']}"

    found = Found()
    for folder, (split, kind) in PARTS.items():
        _check(base / folder)
        found.add(base, folder, split, kind, base / PUBLIC / "ground_truth/bad", group=group, wanted=wanted)
    if lights is None:
        found.note_strays(base / PUBLIC / "ground_truth")
    for private in sub_folders(base):
        if private.name.startswith("test_private"):
            count = len(image_files(private)[0]) if any(private.iterdir()) else 0
            found.notices.append(f"{private.name} has no labels: its {count} images are not read")
    return found.table(category or base.resolve().name, LICENCE)


def _check(folder: Path) -> None:
    if odd := [file for file in image_files(folder)[0] if NAME.fullmatch(file.stem) is None]:
        raise DataError(
            f"{folder}: {len(odd)} names say no light: {first_five(odd)}; they must end in _regular, _overexposed, "
            "_underexposed or _shift_1 to _shift_3"
        )


def _name(file: Path) -> dict[str, str]:
    match = NAME.fullmatch(file.stem)
    return match.groupdict() if match else {}
