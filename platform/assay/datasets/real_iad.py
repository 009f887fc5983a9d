"""Real-IAD: thirty kinds of parts, each part in five views, with its splits in JSON files.

Layout: realiad_jsons/<split>/<category>.json, and the images it names below realiad_<size>/<category>, such as
NG/<code>/S0001/<category>_0001_NG_C1_<time>.jpg, with the mask beside it as ..._mask.png.
Source: Wang et al., Real-IAD: A Real-World Multi-View Dataset for Benchmarking Versatile Industrial Anomaly Detection,
CVPR 2024.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError

from assay.contracts import Plain
from assay.data.masks import named
from assay.datasets._columns import below
from assay.datasets._folders import relative
from assay.datasets._reader import published
from assay.datasets._rows import Row, Table
from assay.errors import DataError

LICENCE = "CC BY-NC-SA 4.0, given on request: non-commercial use only"
PLACE = re.compile(r"(?P<part>OK|NG)/(?:.*/)?(?P<sample>S\d+)/[^/]*_C(?P<view>\d)_[^/]*")
View = Annotated[int, Ge(1), Le(5)]


class _Item(BaseModel):
    image_path: str
    mask_path: str | None = None
    anomaly_class: str


class _Meta(BaseModel):
    normal_class: str
    prefix: str


class _Listing(BaseModel):
    meta: _Meta
    train: list[_Item]
    test: list[_Item]


def categories(values: Plain) -> list[str]:
    """The categories that have a JSON file."""
    folder = Path(values["root"]).expanduser() / "realiad_jsons" / relative(values.get("jsons", "realiad_jsons"))
    return sorted(file.stem for file in folder.glob("*.json"))


@published(categories)
def real_iad(
    *,
    root: str,
    category: str,
    images: str = "realiad_256",
    jsons: str = "realiad_jsons",
    views: list[View] | None = None,
) -> Table:
    """Images of a category of Real-IAD (or several, or `all`), with the split of realiad_jsons/<jsons>/<category>.json.

    images: the folder of the size to read. views: cameras to read, by default all five. A view is labelled by its own
    anomaly_class: on a part with a defect, views that don't show it are normal. All views of a part are a group: they
    stay in one split, and intervals resample parts. Anomalies in the train list (realiad_jsons_fuiad_...) are set aside
    and counted. Raises DataError for JSON of another kind and where class, mask and folder of a view contradict.
    """
    base = Path(root).expanduser()
    file = base / "realiad_jsons" / relative(jsons) / f"{category}.json"
    listing = _read(file)
    folder = base / relative(images) / listing.meta.prefix
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; set `images` to one of the folders realiad_... below {base}")
    rows: list[Row] = []
    parts: tuple[tuple[Literal["train", "test"], list[_Item]], ...] = (("train", listing.train), ("test", listing.test))
    for split, items in parts:
        ids = below(folder, [item.image_path for item in items], file)
        marked = [item.mask_path for item in items if item.mask_path]
        masks = dict(zip(marked, below(folder, marked, file), strict=True))
        for id_, item in zip(ids, items, strict=True):
            place = PLACE.fullmatch(id_)
            if place is None:
                raise DataError(
                    f"{file}: {id_} is not such as OK/S0001/..._C1_....jpg, which say the part and the view"
                )
            label = int(item.anomaly_class != listing.meta.normal_class)
            _check(file, id_, item, label, place["part"])
            if views is None or int(place["view"]) in views:
                group = f"{place['part']} {place['sample']}"
                drawn = (folder / masks[item.mask_path],) if item.mask_path else ()
                rows.append(Row(id_, folder / id_, label, item.anomaly_class, split, group, drawn))
    if not rows:
        raise DataError(f"{file}: it lists no image of the views {named([str(view) for view in views or []])}")
    return Table(category, rows, LICENCE)


def _read(file: Path) -> _Listing:
    try:
        return _Listing.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        there = sorted(other.stem for other in file.parent.glob("*.json"))
        raise DataError(f"{file}: no such file; there are: {named(there) or 'none'}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{file}: not a list of Real-IAD, which holds meta (normal_class, prefix), train and test (image_path, "
            f"mask_path, anomaly_class): {where + ': ' if where else ''}{first['msg']}"
        ) from error


def _check(file: Path, id_: str, item: _Item, label: int, part: str) -> None:
    """Raise DataError where what is said of a view contradicts itself: its label would be a guess."""
    if label and part == "OK":
        raise DataError(f"{file}: {id_} lies among sound parts and has the class {item.anomaly_class}")
    if not label and item.mask_path:
        raise DataError(f"{file}: {id_} has the class {item.anomaly_class}, of normals, and the mask {item.mask_path}")
