"""Tables of a user's own: what is read from CSV and Parquet files, and what is refused in one sentence."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assay.contracts import Dataset
from assay.datasets.table import table
from assay.errors import DataError, InputError

HEADER = ["image", "label", "type", "part", "where", "marks"]


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
    return path


def listing(root: Path, normals: int = 20, anomalies: int = 8) -> list[list[str]]:
    """Rows under HEADER, whose files are made: two images of each part."""
    rows = []
    for at in range(normals):
        picture(root / f"pictures/n{at:02}.png", at)
        rows.append([f"pictures/n{at:02}.png", "ok", "", f"N{at // 2}", "train" if at < 14 else "test", ""])
    for at in range(anomalies):
        picture(root / f"pictures/a{at:02}.png", 500 + at)
        marked = Image.new("L", (20, 20))
        marked.paste(255, (2, 2, 8, 8))
        marked.save(root / f"pictures/a{at:02}_mark.png")
        kind = "dent" if at < 4 else "crack"
        rows.append([f"pictures/a{at:02}.png", "NG", kind, f"A{at // 2}", "test", f"pictures/a{at:02}_mark.png"])
    return rows


def written(root: Path, rows: list[list[str]], header: list[str] = HEADER, **how: str) -> str:
    with (root / "list.csv").open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        csv.writer(file, lineterminator=how.pop("end", "\n"), **how).writerows([header, *rows])
    return str(root)


def read(root: Path | str, **values: object) -> Dataset:
    known = {"file": "list.csv", "kind": "type", "split": "where", "group": "part", "mask": "marks"}
    return table(root=str(root), **{**known, **values})  # type: ignore[arg-type]


def found(dataset: Dataset) -> Counter[tuple[str, str]]:
    return Counter((sample.split, sample.defect) for sample in dataset.samples)


def test_a_table_gives_label_kind_split_group_and_masks(tmp_path: Path) -> None:
    dataset = read(written(tmp_path, listing(tmp_path)))
    assert dataset.name == "list"
    assert {s.split for s in dataset.samples if s.label == 0 and int(s.id[-6:-4]) >= 14} == {"test"}
    assert found(dataset)["train", "normal"] + found(dataset)["validation", "normal"] == 14
    assert found(dataset)["validation", "dent"] == found(dataset)["validation", "crack"] == 2  # a whole part of two
    splits: dict[str | None, set[str]] = {}
    for sample in dataset.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
        assert sample.path.is_file()
        assert [mask.name for mask in sample.masks] == ([f"{sample.path.stem}_mark.png"] if sample.label else [])
    assert len(splits) == 14
    assert all(len(of) == 1 for of in splits.values())


def test_without_a_split_images_are_shared_out_and_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    written(tmp_path, listing(tmp_path))
    dataset = read(tmp_path, split=None, kind=None, train_fraction=0.5)
    assert found(dataset)["train", "normal"] == 10
    assert {defect for _, defect in found(dataset)} == {"normal", "anomalous"}
    assert dataset.notices == ("list.csv: columns that are not read: type, where",)


def test_published_validation_anomalies_leave_all_others_to_the_test(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    rows[-1][4] = rows[-2][4] = "val"
    written(tmp_path, rows)
    assert found(read(tmp_path))["validation", "crack"] == 2
    assert found(read(tmp_path))["test", "dent"] == 4
    pseudo = read(tmp_path, validation_anomalies="pseudo")
    assert {s.split for s in pseudo.samples if s.label} == {"test"}
    assert pseudo.notices[-1].startswith("2 anomalies outside the test split are set aside: pictures/a06.png")


def test_parquet_and_csv_of_any_encoding_separator_and_line_end_say_the_same(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    expected = read(written(tmp_path, rows)).samples
    assert read(written(tmp_path, rows, end="\r\n", encoding="utf-8-sig")).samples == expected
    written(tmp_path, rows, delimiter=";", encoding="utf-16")
    assert read(tmp_path, delimiter=";", encoding="utf-16").samples == expected
    columns = {name: [row[at] or None for row in rows] for at, name in enumerate(HEADER)}
    columns["label"] = [row[1] == "NG" for row in rows]
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert read(tmp_path, file="list.parquet").samples == expected


def test_paths_may_be_absolute_below_the_root_or_written_on_windows(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    expected = read(written(tmp_path, rows)).samples
    rows[0][0] = str(tmp_path / rows[0][0])
    rows[1][0] = rows[1][0].replace("/", "\\")
    rows[2][0] = "./pictures/../" + rows[2][0]
    assert read(written(tmp_path, rows)).samples == expected


def change(rows: list[list[str]], column: str, value: str, count: int = 1) -> None:
    for row in rows[:count]:
        row[HEADER.index(column)] = value


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "maybe", r"labels that are neither normal nor anomalous: maybe \(2 rows\); say which are which with"),
        ("label", "", r"2 rows have nothing in column label: pictures/n00\.png, pictures/n01\.png"),
        ("where", "holdout", r"unknown splits: holdout; there are train, validation and test"),
        ("image", "pictures/n05.png", r"1 images are listed twice, such as pictures/n05"),
        ("image", "/elsewhere/n.png", r"2 paths do not lie below .*: /elsewhere/n\.png, .*write them relative to root"),
        ("image", "../n.png", r"2 paths do not lie below"),
        ("image", "pictures/gone.png", r"2 of its 28 files are not below .*: pictures/gone\.png"),
        ("part", "A3", r"1 groups are in two splits: A3\. Images of one part must not be in two"),
    ],
)
def test_what_a_table_must_not_say_is_an_error(tmp_path: Path, column: str, value: str, message: str) -> None:
    rows = listing(tmp_path)
    change(rows, column, value, 2)
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, rows))


def test_columns_that_are_missing_and_kinds_that_are_empty_are_errors(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    written(tmp_path, rows)
    with pytest.raises(DataError, match=r"no column klass; there are: image, label, type, part, where, marks"):
        read(tmp_path, kind="klass")
    written(tmp_path, rows, delimiter=";")
    with pytest.raises(DataError, match=r"its columns may be separated by ';': set `delimiter`"):
        read(tmp_path)
    written(tmp_path, rows, ["image", "label", "type", "part", "where", "label"])
    with pytest.raises(DataError, match=r"2 columns are called label; rename all but one"):
        read(tmp_path, mask=None)
    change(rows[-1:], "type", "")
    with pytest.raises(DataError, match=r"1 rows have nothing in column type: pictures/a07\.png"):
        read(written(tmp_path, rows))


def test_a_file_that_is_no_table_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    change(rows[-1:], "type", "Größe")
    written(tmp_path, rows, encoding="cp1252")
    with pytest.raises(DataError, match=r"cannot be read as a table: .*Set `encoding`, such as cp1252"):
        read(tmp_path)
    assert found(read(tmp_path, encoding="cp1252"))["test", "Größe"] == 1
    with pytest.raises(DataError, match=r"`encoding` is a name such as utf-8"):
        read(tmp_path, encoding="klingon")
    with (tmp_path / "list.csv").open("a") as file:
        file.write("a,b\n")
    with pytest.raises(DataError, match=r"cannot be read as a table: .*Expected 6 columns, got 2"):
        read(tmp_path, encoding="cp1252")
    (tmp_path / "list.csv").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be read as a table: Empty CSV file"):
        read(tmp_path)
    (tmp_path / "list.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"list\.parquet: cannot be read as a table"):
        read(tmp_path, file="list.parquet")
    with pytest.raises(DataError, match="no such file; check the path"):
        read(tmp_path, file="other.csv")


def test_another_encoding_is_guessed_at_by_its_first_bytes(tmp_path: Path) -> None:
    written(tmp_path, listing(tmp_path), encoding="utf-16")
    with pytest.raises(DataError, match=r"cannot be read as a table: .*Set `encoding`, such as cp1252 or utf-16"):
        read(tmp_path)
    assert len(read(tmp_path, encoding="utf-16").samples) == 28


def test_a_normal_with_a_mark_is_an_error_and_one_with_a_kind_is_told(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    Image.new("L", (20, 20)).save(tmp_path / "pictures/nothing.png")
    rows[0][5] = "pictures/nothing.png"  # a mask that marks nothing: as some publish their normals
    change(rows[1:3], "type", "dent", 2)
    change(rows[3:4], "type", "none")
    dataset = read(written(tmp_path, rows))
    assert dataset.notices == (
        "list.csv: 2 normals name a kind that anomalies have: pictures/n01.png, pictures/n02.png",
    )
    assert not any(sample.masks for sample in dataset.samples if not sample.label)
    rows[4][5] = rows[-1][5]
    with pytest.raises(
        DataError, match=r"1 images are labelled normal and have a mask that marks .*: pictures/n04\.png"
    ):
        read(written(tmp_path, rows))


def test_the_names_of_both_labels_are_the_user_s(tmp_path: Path) -> None:
    rows = listing(tmp_path)
    for row in rows:
        row[1] = "1" if row[1] == "ok" else "0"
    written(tmp_path, rows)
    assert found(read(tmp_path, normal="1", anomalous="0"))["test", "normal"] == 6
    with pytest.raises(DataError, match=r"normal nor anomalous: 0 \(8 rows\)"):
        read(tmp_path, normal="1")
    with pytest.raises(DataError, match=r"normal nor anomalous: 0 \(8 rows\)"):
        read(tmp_path, normal="1", anomalous="2")
    with pytest.raises(InputError, match="normal and anomalous both name 1"):
        read(tmp_path, normal="1", anomalous=["0", "1"])
