"""Real-IAD, Kolektor and DAGM on small copies of their layouts: views, masks beside images, defects to train on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import layouts
import pytest
from layouts import marked, picture

from assay.contracts import Dataset
from assay.datasets.dagm import dagm
from assay.datasets.kolektor import kolektor
from assay.datasets.real_iad import real_iad
from assay.errors import DataError


def found(dataset: Dataset) -> Counter[tuple[str, str]]:
    return Counter((sample.split, sample.defect) for sample in dataset.samples)


def splits_of_groups(dataset: Dataset) -> dict[str | None, set[str]]:
    splits: dict[str | None, set[str]] = {}
    for sample in dataset.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    return splits


# Real-IAD


def test_a_view_has_its_own_label_and_all_views_of_a_part_are_a_group(tmp_path: Path) -> None:
    dataset = real_iad(root=str(layouts.real_iad(tmp_path)), category="plug")
    assert Counter(sample.defect for sample in dataset.samples if sample.label) == {"ZW": 10, "HS": 8}
    of_bad = [sample for sample in dataset.samples if "/S0055/" in sample.id]
    assert sorted((sample.id[-10:-9], sample.label, len(sample.masks)) for sample in of_bad) == [
        ("1", 1, 1),
        ("2", 0, 0),
        ("3", 0, 0),
        ("4", 1, 1),
        ("5", 0, 0),
    ]
    assert {sample.group for sample in of_bad} == {"NG S0055"}
    assert all(len(of) == 1 for of in splits_of_groups(dataset).values())
    assert len(splits_of_groups(dataset)) == 20
    assert found(dataset)["validation", "ZW"] >= 2


def test_views_may_be_chosen(tmp_path: Path) -> None:
    root = str(layouts.real_iad(tmp_path))
    dataset = real_iad(root=root, category="plug", views=[2, 4])
    assert {sample.id[-10:-9] for sample in dataset.samples} == {"2", "4"}
    with pytest.raises(DataError, match="it lists no image of the views"):
        real_iad(root=root, category="plug", views=[])


def changed(root: Path, how: object) -> str:
    [file] = root.rglob("*.json")
    file.write_text(how if isinstance(how, str) else json.dumps(how))
    return str(root)


def test_contradictions_about_a_view_are_errors(tmp_path: Path) -> None:
    root = layouts.real_iad(tmp_path)
    [file] = root.rglob("*.json")
    whole = json.loads(file.read_text())
    for place, key, value, message in (
        (0, "anomaly_class", "HS", "lies among sound parts and has the class HS"),
        (15, "anomaly_class", "OK", "of normals, and the mask NG/ZW/S0053"),
        (1, "image_path", "elsewhere.jpg", r"1 of its 60 files are not below"),
    ):
        item = whole["test"][place]
        kept, item[key] = item[key], value
        with pytest.raises(DataError, match=message):
            real_iad(root=changed(root, whole), category="plug")
        item[key] = kept
    whole["train"] = whole["test"][:5] + whole["train"]
    with pytest.raises(DataError, match=r"5 images are listed twice|1 groups are in two splits"):
        real_iad(root=changed(root, whole), category="plug")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("[1, 2", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ('{"train": [], "test": []}', "meta: Field required"),
        ('{"meta": {"normal_class": "OK", "prefix": "plug"}, "train": [3], "test": []}', r"train\.0: "),
        (
            '{"meta": {"normal_class": "OK", "prefix": "plug"}, "train": [], "test": [{"image_path": 1}]}',
            r"test\.0\.image_path",
        ),
    ],
)
def test_json_of_another_kind_is_an_error_that_says_where(tmp_path: Path, content: str, where: str) -> None:
    root = changed(layouts.real_iad(tmp_path), content)
    with pytest.raises(DataError, match=rf"plug\.json: not a list of Real-IAD, .*{where}"):
        real_iad(root=root, category="plug")


def test_real_iad_says_which_categories_and_sizes_there_are(tmp_path: Path) -> None:
    root = str(layouts.real_iad(tmp_path))
    with pytest.raises(DataError, match=r"usb\.json: no such file; there are: plug"):
        real_iad(root=root, category="usb")
    with pytest.raises(DataError, match="set `images` to one of the folders realiad_"):
        real_iad(root=root, category="plug", images="realiad_512")


# KolektorSDD and KolektorSDD2


def test_an_item_is_never_split_though_each_has_a_defect(tmp_path: Path) -> None:
    dataset = kolektor(root=str(layouts.kolektor(tmp_path, items=20)))
    splits = splits_of_groups(dataset)
    assert len(splits) == 20
    assert all(len(of) == 1 for of in splits.values())
    counts = found(dataset)
    assert counts["train", "normal"] == 36
    assert counts["train", "defect"] == 0
    assert dataset.notes["anomalies_set_aside"] == 12
    assert counts["validation", "defect"] + counts["test", "defect"] == 8
    assert counts["validation", "defect"] > 0
    assert all(len(sample.masks) == sample.label for sample in dataset.samples)


def test_the_second_set_keeps_its_split_and_takes_no_mask_for_an_image(tmp_path: Path) -> None:
    dataset = kolektor(root=str(layouts.kolektor_2(tmp_path)))
    assert not any("_GT" in sample.id for sample in dataset.samples)
    assert found(dataset)["train", "normal"] + found(dataset)["validation", "normal"] == 12
    assert found(dataset)["test", "normal"] == 5
    assert found(dataset)["validation", "defect"] + found(dataset)["test", "defect"] == 6
    assert dataset.notes["anomalies_set_aside"] == 3


def test_an_image_without_its_mask_has_no_label(tmp_path: Path) -> None:
    root = layouts.kolektor(tmp_path)
    (root / "kos03/Part1_label.bmp").unlink()
    with pytest.raises(DataError, match=r"kos03: 1 images have no mask: Part1\.jpg; without its mask, nothing says"):
        kolektor(root=str(root))
    (root / "kos03/Part1.jpg").unlink()
    marked(root / "kos05/Part9_label.bmp")
    with pytest.raises(DataError, match=r"kos05: 1 masks have no image: Part9_label\.bmp"):
        kolektor(root=str(root))
    picture(root / "kos04/Part1.png", 1)
    with pytest.raises(DataError, match="two images or two masks have the same name before the suffix"):
        kolektor(root=str(root))
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="neither folders kos01"):
        kolektor(root=str(tmp_path / "other"))


# DAGM


def test_dagm_sets_the_defects_to_train_on_aside(tmp_path: Path) -> None:
    dataset = dagm(root=str(layouts.dagm(tmp_path)), category="Class1")
    assert found(dataset)["train", "normal"] + found(dataset)["validation", "normal"] == 13
    assert found(dataset)["test", "normal"] == 13
    assert found(dataset)["validation", "defect"] + found(dataset)["test", "defect"] == 7
    assert dataset.notes["anomalies_set_aside"] == 7
    marked(tmp_path / "Class1/Test/Label/0099_label.PNG")
    with pytest.raises(DataError, match="1 masks have no image: 0099_label"):
        dagm(root=str(tmp_path), category="Class1")
    with pytest.raises(DataError, match="no folder Train/Label"):
        dagm(root=str(tmp_path), category="Class2")
