"""VisA: twelve kinds of products as published, with the official splits in CSV files.

Layout: <category>/Data/Images/{Normal,Anomaly}/*.JPG, <category>/Data/Masks/Anomaly/*.png with the number of a type of
defect in each pixel, <category>/image_anno.csv with the names of the types, and split_csv/{1cls,2cls_highshot,...}.csv.
Source: Zou et al., SPot-the-Difference Self-Supervised Pre-training for Anomaly Detection and Segmentation, ECCV 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from assay.contracts import Plain
from assay.data.masks import named
from assay.datasets._columns import below, records
from assay.datasets._reader import published
from assay.datasets._rows import Row, Table
from assay.errors import DataError

LICENCE = "CC BY 4.0"
COLUMNS = {name: name for name in ("object", "split", "label", "image", "mask")}
LABELS = {"normal": 0, "anomaly": 1}
SPLITS: dict[str | None, Literal["train", "test"]] = {"train": "train", "test": "test"}
SEVERAL = "combined"


def categories(values: Plain) -> list[str]:
    """The categories that the split lists."""
    listed = Path(values["root"]).expanduser() / "split_csv" / f"{values.get('protocol', '1cls')}.csv"
    return sorted({line["object"] for line in records(listed, {"object": "object"}) if line["object"]})


@published(categories)
def visa(*, root: str, category: str, protocol: Literal["1cls", "2cls_highshot", "2cls_fewshot"] = "1cls") -> Table:
    """Images of a category of VisA (or several, or `all`) below `root`, in the official split split_csv/<protocol>.csv.

    Kinds of defects are those of image_anno.csv, `combined` where an image has several. Every pixel of a mask above 0
    is marked. Anomalies that 2cls_highshot and 2cls_fewshot publish for training are set aside. Raises DataError where
    the layout is missing, for an unknown category, and where the two files contradict each other.
    """
    base = Path(root).expanduser()
    listed = base / "split_csv" / f"{protocol}.csv"
    if not listed.is_file() and (base / category / "train").is_dir():
        raise DataError(f"{base}: no {listed.relative_to(base)}; {category} is in the layout of the dataset mvtec")
    every = records(listed, COLUMNS)
    lines = [line for line in every if line["object"] == category]
    if not lines:
        there = sorted({line["object"] or "" for line in every})
        raise DataError(f"{listed}: no category {category}; there are: {', '.join(there)}")
    odd = [line for line in lines if line["split"] not in SPLITS or line["label"] not in LABELS]
    if odd:
        said = sorted({f"{line['split']} and {line['label']}" for line in odd})
        raise DataError(f"{listed}: splits and labels are train or test, and normal or anomaly, not {named(said)}")
    ids = below(base, [line["image"] or "" for line in lines], listed)
    labels = [LABELS[line["label"] or ""] for line in lines]
    kinds = _kinds(base, category, [id_ for id_, label in zip(ids, labels, strict=True) if label])
    marked = [line["mask"] for line, label in zip(lines, labels, strict=True) if label and line["mask"]]
    masks = dict(zip(marked, below(base, [mask for mask in marked if mask], listed), strict=True))
    rows = [
        Row(
            id_.removeprefix(f"{category}/"),
            base / id_,
            label,
            kinds[id_] if label else "normal",
            SPLITS[line["split"]],
            masks=(base / masks[line["mask"]],) if label and line["mask"] else (),
        )
        for line, id_, label in zip(lines, ids, labels, strict=True)
    ]
    return Table(category, rows, LICENCE, mask_above=0)


def _kinds(base: Path, category: str, anomalies: list[str]) -> dict[str, str]:
    """The kind of every anomaly, by its path below base."""
    file = base / category / "image_anno.csv"
    lines = records(file, {"image": "image", "label": "label"})
    said = {
        line["image"]: [name.strip() for name in (line["label"] or "").split(",") if name.strip()] for line in lines
    }
    if without := [id_ for id_ in anomalies if not said.get(id_) or said[id_] == ["normal"]]:
        raise DataError(f"{file}: it names no type of defect for {len(without)} anomalies: {named(without)}")
    return {id_: said[id_][0] if len(set(said[id_])) == 1 else SEVERAL for id_ in anomalies}
