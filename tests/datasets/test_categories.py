"""Several categories of a set as one dataset: what of it says which category it is of, and what stays as if alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import layouts
import pytest
from layouts import marked, picture

from assay.contracts import Dataset
from assay.data import splits
from assay.data.missing import missing
from assay.datasets.dagm import dagm
from assay.datasets.mvtec import mvtec
from assay.datasets.mvtec_ad_2 import mvtec_ad_2
from assay.datasets.mvtec_loco import mvtec_loco
from assay.datasets.real_iad import real_iad
from assay.datasets.visa import visa
from assay.errors import DataError, InputError


def one(root: Path, name: str, seed: int) -> None:
    for at in range(12):
        picture(root / f"{name}/train/good/{at:03}.png", seed + at)
    for at in range(6):
        picture(root / f"{name}/test/good/{at:03}.png", seed + 100 + at)
        picture(root / f"{name}/test/crack/{at:03}.png", seed + 200 + at)
        marked(root / f"{name}/ground_truth/crack/{at:03}_mask.png")


@pytest.fixture
def root(tmp_path: Path) -> str:
    for seed, name in enumerate(("bottle", "cable", "screw")):
        one(tmp_path, name, 1000 * seed)
    (tmp_path / "licence").mkdir()
    return str(tmp_path)


def places(dataset: Dataset) -> dict[str, str]:
    return {sample.id: sample.split for sample in dataset.samples}


def test_each_category_is_split_as_if_alone_and_kinds_name_theirs(root: str) -> None:
    both = mvtec(root=root, category=["bottle", "cable"])
    alone = {name: places(mvtec(root=root, category=name)) for name in ("bottle", "cable")}
    assert places(both) == {f"{name}/{id_}": split for name, of in alone.items() for id_, split in of.items()}
    assert {sample.defect for sample in both.samples} == {"normal", "bottle/crack", "cable/crack"}
    assert all(sample.category == sample.id.split("/")[0] for sample in both.samples)
    assert both.name == "bottle+cable"
    assert both.notes["categories"] == "bottle, cable"
    assert mvtec(root=root, category=["bottle"]) == mvtec(root=root, category="bottle")


def test_all_is_every_folder_that_is_a_category(root: str, tmp_path: Path) -> None:
    every = mvtec(root=root, category="all")
    assert Counter(sample.category for sample in every.samples) == {"bottle": 24, "cable": 24, "screw": 24}
    assert every.name == f"{tmp_path.name}-all"
    seen = mvtec(root=root, category="all", labelled_anomalies=2, labelled_kinds=["cable/crack"])
    assert {sample.category for sample in seen.samples if sample.split == "labelled"} == {"cable"}


def test_groups_of_two_categories_are_two_groups(root: str) -> None:
    dataset = mvtec(root=root, category=["bottle", "cable"], group_pattern=r"(\w+/\w+/\d+)\.png")
    assert {sample.group for sample in dataset.samples if sample.id.endswith("train/good/003.png")} == {
        "bottle/train/good/003",
        "cable/train/good/003",
    }


def test_the_categories_go_with_the_images(root: str, tmp_path: Path) -> None:
    dataset = mvtec(root=root, category=["bottle", "cable"], image_size=16)
    images = splits.test_images(dataset, cache=tmp_path / "cache")
    assert images.categories == tuple(id_.split("/")[0] for id_ in images.ids)
    alone = mvtec(root=root, category="bottle", image_size=16)
    assert splits.test_images(alone, cache=tmp_path / "cache").categories == ()


@pytest.mark.parametrize(
    ("category", "message"), [([], "an empty list"), (["bottle", "bottle"], "bottle, bottle; name")]
)
def test_lists_that_make_no_sense_are_refused(root: str, category: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mvtec(root=root, category=category)
    with pytest.raises(DataError, match="no category in it; check the root"):
        mvtec(root=f"{root}/licence", category="all")
    with pytest.raises(DataError, match=r"bolt: no such folder; check root and category"):
        mvtec(root=root, category=["bottle", "bolt"])


def test_a_category_that_lacks_a_class_is_told(root: str, tmp_path: Path) -> None:
    for file in Path(root, "cable/test/crack").iterdir():
        file.unlink()
    dataset = mvtec(root=root, category=["bottle", "cable"], image_size=16)
    notices = splits.training_data(dataset, cache=tmp_path / "cache").description["notices"]
    told = [notice for notice in notices if "by category" in notice]
    assert [notice.partition("images, ")[2] for notice in told] == ["cable has no anomalies"]
    assert any("cable has no anomalies" in sentence for sentence in missing(dataset))
    whole = mvtec(root=root, category=["bottle", "screw"], image_size=16)
    assert "notices" not in splits.training_data(whole, cache=tmp_path / "cache").description
    assert not any("by category" in sentence for sentence in missing(whole))


def test_every_set_with_categories_takes_all(tmp_path: Path) -> None:
    for at, name in enumerate(("candle", "pcb1")):
        layouts.visa(tmp_path / "visa", name)
        layouts.real_iad(tmp_path / "real_iad", name)
        layouts.dagm(tmp_path / "dagm", f"Class{at}")
        layouts.mvtec_ad_2(tmp_path / "ad2" / name)
        layouts.mvtec_loco(tmp_path / "loco" / name)
    for reader, folder in (
        (visa, "visa"),
        (real_iad, "real_iad"),
        (dagm, "dagm"),
        (mvtec_ad_2, "ad2"),
        (mvtec_loco, "loco"),
    ):
        dataset = reader(root=str(tmp_path / folder), category="all")
        assert len({sample.category for sample in dataset.samples}) == 2, folder
        assert all(sample.group is None or sample.group.startswith(f"{sample.category}/") for sample in dataset.samples)
        assert any("/" in sample.defect for sample in dataset.samples)
