"""MVTec LOCO AD: logical and structural anomalies, several masks for an image, each of one type of defect.

Layout: train/good, validation/good, test/{good,logical_anomalies,structural_anomalies}/NNN.png,
ground_truth/<folder>/NNN/000.png, 001.png and so on, and defects_config.json with the value of each type of defect.
Source: Bergmann et al., Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection and
Localization, IJCV 2022.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from assay.data import masks
from assay.datasets._folders import about_unread, sub_folders
from assay.datasets._layout import Found, holding
from assay.datasets._reader import published
from assay.datasets._rows import Row, Table
from assay.errors import DataError

LICENCE = "CC BY-NC-SA 4.0: non-commercial use only"
SUFFIX = "_anomalies"
SEVERAL = "combined"


class _Type(BaseModel):
    """A type of defect in defects_config.json; what it says for sPRO is not read."""

    defect_name: str
    pixel_value: int


@published(holding("train", "test"))
def mvtec_loco(*, root: str, category: str | None = None, kinds: Literal["folder", "type"] = "folder") -> Table:
    """Images of MVTec LOCO AD below `root` (or `root/category`); every pixel above 0 of any mask is marked.

    kinds: `folder`: logical and structural; `type`: the types of defects that defects_config.json knows by the values
    in masks, `combined` where an image has several. Normals for validation are those published for it.
    Raises DataError where the layout is missing or a mask holds a value that defects_config.json doesn't know.
    """
    base = Path(root).expanduser() / (category or "")
    for needed in ("train/good", "validation/good", "test/good"):
        if not (base / needed).is_dir():
            raise DataError(f"{base}: no folder {needed}; root (with category) must be one category of MVTec LOCO AD")
    found = Found()
    found.add(base, "train/good", "train")
    found.add(base, "validation/good", "validation")
    for folder in sub_folders(base / "test"):
        kind = None if folder.name == "good" else folder.name.removesuffix(SUFFIX)
        found.add(base, f"test/{folder.name}", "test", kind, base / "ground_truth" / folder.name)
    found.note_strays(base / "ground_truth")
    found.notices += about_unread(base, [base / name for name in ("train", "validation", "test", "ground_truth")])
    types = _types(base / "defects_config.json")
    of_image = [_defects(row, types, base) for row in found.rows]
    if kinds == "type":
        found.rows = [
            dataclasses.replace(row, kind=of.pop() if len(of) == 1 else SEVERAL) if of else row
            for row, of in zip(found.rows, of_image, strict=True)
        ]
    return found.table(category or base.resolve().name, LICENCE, mask_above=0)


def _types(file: Path) -> dict[int, str]:
    """Value in a mask -> type of defect."""
    try:
        listed = TypeAdapter(list[_Type]).validate_python(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; without it the values in masks have no meaning") from None
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{file}: it must be a list of types of defects, each with defect_name and pixel_value ({reason})"
        ) from error
    return {one.pixel_value: one.defect_name for one in listed}


def _defects(row: Row, types: dict[int, str], base: Path) -> set[str]:
    """The types of defects that the masks of an image mark."""
    values = {value for mask in row.masks for value in masks.values(mask) if value > 0}
    if unknown := sorted(values - set(types)):
        raise DataError(
            f"{base / row.id}: its masks hold the value {unknown[0]}, which is not in defects_config.json "
            f"({', '.join(map(str, sorted(types)))}); were they converted or scaled?"
        )
    return {types[value] for value in values}
