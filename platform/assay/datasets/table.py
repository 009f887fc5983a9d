"""A table of your own, CSV or Parquet: a row for each image, with its label and what else you know of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Literal

from pydantic import StringConstraints

from assay.data.file_facts import in_parallel
from assay.data.masks import named, values
from assay.datasets._columns import Record, below, others, records
from assay.datasets._folders import as_list, relative
from assay.datasets._reader import either
from assay.datasets._rows import Row, Table
from assay.errors import DataError, InputError

Name = Literal["train", "validation", "test"]
OTHER_NAMES: dict[str, Name] = {"training": "train", "valid": "validation", "val": "validation", "testing": "test"}
SPLITS: dict[str, Name] = {"train": "train", "validation": "validation", "test": "test", **OTHER_NAMES}
"""What a split is called in tables, in small letters -> the split."""
NORMAL, ANOMALOUS = ["normal", "good", "ok", "0", "false"], ["anomalous", "anomaly", "bad", "ng", "1", "true"]
"""Labels of normals and of anomalies, in small letters, unless the user names them."""
WHOLE = re.compile(r"(\d+)\.0+")

Sign = Annotated[str, StringConstraints(min_length=1, max_length=1)]


@either()
def table(
    *,
    root: str,
    file: str,
    image: str = "image",
    label: str = "label",
    normal: str | list[str] | None = None,
    anomalous: str | list[str] | None = None,
    kind: str | None = None,
    split: str | None = None,
    group: str | None = None,
    mask: str | None = None,
    encoding: str = "utf-8",
    delimiter: Sign = ",",
) -> Table:
    """Images listed in `file`, a CSV or Parquet file below `root`; paths in it are relative to root.

    image, label, kind, split, group, mask: names of its columns; those without a name are not read. normal, anomalous:
    the labels of each, in any case; by default normal, good, ok, 0, false and anomalous, anomaly, bad, ng, 1, true
    (1.0 is 1). kind: of the defect, needed by every anomaly. split: train, validation (val, valid) or test; without it,
    images are shared out by seed. group: images with the same one stay together; empty: an image of its own. mask: a
    file that marks the defect, empty where there is none. Raises DataError for what is missing, contradictory or not
    understood.
    """
    base = Path(root).expanduser()
    listed = base / relative(file)
    columns = {"image": image, "label": label, "kind": kind, "split": split, "group": group, "mask": mask}
    used = {key: name for key, name in columns.items() if name is not None}
    lines = records(listed, used, encoding=encoding, delimiter=delimiter)
    if not lines:
        raise DataError(f"{listed}: it has no row")
    _complete(listed, lines, used, ("image", "label", "split"))
    anomalies = _labels(listed, lines, normal, anomalous)
    defects = [line for line, bad in zip(lines, anomalies, strict=True) if bad]
    _complete(listed, defects, used, ("kind",))
    splits = _splits(listed, lines) if split else [None] * len(lines)
    ids = below(base, [line["image"] or "" for line in lines], listed)
    marked = [(at, name) for at, line in enumerate(lines) if (name := line.get("mask"))]
    masks = dict(zip([at for at, _ in marked], below(base, [name for _, name in marked], listed), strict=True))
    if same := [ids[at] for at, name in masks.items() if name == ids[at]]:
        raise DataError(f"{listed}: {len(same)} images are named as their own mask: {named(same)}; correct the column")
    _contradicting(listed, ids, anomalies, {at: base / name for at, name in masks.items()})
    rows = [
        Row(
            ids[at],
            base / ids[at],
            int(anomalies[at]),
            (line.get("kind") or "anomalous") if anomalies[at] else "normal",
            splits[at],
            line.get("group"),
            (base / masks[at],) if at in masks and anomalies[at] else (),
        )
        for at, line in enumerate(lines)
    ]
    unread = others(listed, list(used.values()), encoding=encoding, delimiter=delimiter)
    notices = [f"{listed.name}: columns that are not read: {named(unread)}"] if unread else []
    kinds = {line.get("kind") for line in defects} - {None}
    if odd := [ids[at] for at, line in enumerate(lines) if not anomalies[at] and line.get("kind") in kinds]:
        notices.append(f"{listed.name}: {len(odd)} normals name a kind that anomalies have: {named(odd)}")
    return Table(listed.stem, rows, notices=tuple(notices))


def _complete(file: Path, lines: Sequence[Record], columns: dict[str, str], keys: Sequence[str]) -> None:
    """Raise DataError where rows have nothing in one of the columns."""
    for key in set(keys) & set(columns):
        if empty := [line.get("image") or f"row {at}" for at, line in enumerate(lines, 1) if line[key] is None]:
            raise DataError(f"{file}: {len(empty)} rows have nothing in column {columns[key]}: {named(empty)}")


def _contradicting(file: Path, ids: Sequence[str], anomalies: Sequence[bool], masks: Mapping[int, Path]) -> None:
    """Raise DataError for normals whose masks mark something. masks: by the place of their image."""
    normals = [at for at in masks if not anomalies[at]]
    marks = in_parallel(lambda at: values(masks[at])[-1] > 0, normals)
    if torn := [ids[at] for at, mark in zip(normals, marks, strict=True) if mark]:
        raise DataError(
            f"{file}: {len(torn)} images are labelled normal and have a mask that marks something: {named(torn)}; "
            "correct the label, or leave the mask empty"
        )


def _labels(
    file: Path, lines: Sequence[Record], normal: str | list[str] | None, anomalous: str | list[str] | None
) -> list[bool]:
    """Whether each image is anomalous; raises DataError for labels that are neither."""
    good, bad = (
        {name.casefold() for name in (default if given is None else as_list(given))}
        for given, default in ((normal, NORMAL), (anomalous, ANOMALOUS))
    )
    if normal is None:
        good -= bad
    elif anomalous is None:
        bad -= good
    if both := good & bad:
        raise InputError(f"normal and anomalous both name {', '.join(sorted(both))}")
    labels = [_plain(line["label"] or "", good | bad) for line in lines]
    found = Counter(labels)
    if neither := [f"{label} ({count} rows)" for label, count in found.items() if label.casefold() not in good | bad]:
        raise DataError(
            f"{file}: labels that are neither normal nor anomalous: {named(neither)}; say which are which with "
            "`normal` and `anomalous`, or remove these rows"
        )
    return [label.casefold() in bad for label in labels]


def _plain(label: str, known: AbstractSet[str]) -> str:
    """A label without the decimals of a whole number, which spreadsheets and pandas add: 1.0 is 1."""
    whole = WHOLE.fullmatch(label)
    return whole[1] if whole and label.casefold() not in known else label


def _splits(file: Path, lines: Sequence[Record]) -> list[Name | None]:
    names = [(line["split"] or "").casefold() for line in lines]
    if unknown := sorted(set(names) - set(SPLITS)):
        raise DataError(f"{file}: unknown splits: {named(unknown)}; there are train, validation and test")
    return [SPLITS[name] for name in names]
