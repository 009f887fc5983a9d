"""Published data sets, each on a small copy of its layout with the traps that lie in it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import layouts
import pytest
from layouts import marked, picture

from assay.contracts import Dataset, Sample
from assay.data import masks
from assay.datasets.mvtec import mvtec
from assay.datasets.mvtec_ad_2 import mvtec_ad_2
from assay.datasets.mvtec_loco import mvtec_loco
from assay.datasets.visa import visa
from assay.errors import DataError, InputError


def found(dataset: Dataset) -> Counter[tuple[str, str]]:
    return Counter((sample.split, sample.defect) for sample in dataset.samples)


def defects(dataset: Dataset) -> list[Sample]:
    return [sample for sample in dataset.samples if sample.label]


def share_marked(dataset: Dataset, sample: Sample) -> float:
    return float(masks.mask(sample, (20, 20), dataset.mask_above).mean())


# The layout of MVTec AD, as others use it


def test_btad_has_ok_and_ko_and_masks_in_two_formats(tmp_path: Path) -> None:
    for at in range(12):
        picture(tmp_path / f"01/train/ok/{at:04}.bmp", at)
    for at in range(4):
        picture(tmp_path / f"01/test/ok/{at:04}.bmp", 100 + at)
        picture(tmp_path / f"01/test/ko/{at:04}.bmp", 200 + at)
        marked(tmp_path / f"01/ground_truth/ko/{at:04}.{'png' if at < 2 else 'bmp'}")
    dataset = mvtec(root=str(tmp_path), category="01")
    assert found(dataset)["test", "normal"] == 4
    assert {sample.defect for sample in defects(dataset)} == {"ko"}
    assert {len(sample.masks) for sample in defects(dataset)} == {1}


def mvtec_form(root: Path, mask: Callable[[int], str], kind: str = "scratch") -> Path:
    for at in range(12):
        picture(root / f"train/good/{at:03}.png", at)
    for at in range(4):
        picture(root / f"test/good/{at:03}.png", 100 + at)
        picture(root / f"test/{kind}/{at:03}.png", 200 + at)
        marked(root / f"ground_truth/{kind}" / mask(at))
    return root


@pytest.mark.parametrize(
    "name", ["{at:03}_mask.png", "{at:03}.png", "{at:03}/0000.png"], ids=["MPDD", "3CAD", "AutoVI"]
)
def test_masks_are_beside_each_other_or_in_a_folder_for_each_image(tmp_path: Path, name: str) -> None:
    dataset = mvtec(root=str(mvtec_form(tmp_path, lambda at: name.format(at=at))))
    for sample in defects(dataset):
        assert [mask.relative_to(tmp_path / "ground_truth/scratch").parts[0][:3] for mask in sample.masks] == [
            sample.path.stem
        ]
        assert share_marked(dataset, sample) == pytest.approx(36 / 400)


def test_a_folder_of_validation_normals_is_used_and_none_are_taken_from_those_to_train_on(tmp_path: Path) -> None:
    root = mvtec_form(tmp_path, lambda at: f"{at:03}_mask.png")
    for at in range(3):
        picture(root / f"validation/good/{at:03}.png", 300 + at)
    assert found(mvtec(root=str(root)))["train", "normal"] == 12
    assert found(mvtec(root=str(root)))["validation", "normal"] == 3


# MVTec AD 2


def test_the_lights_of_a_part_are_a_group_and_private_sets_are_told(tmp_path: Path) -> None:
    dataset = mvtec_ad_2(root=str(layouts.mvtec_ad_2(tmp_path)))
    assert found(dataset) == {
        ("train", "normal"): 12,
        ("validation", "normal"): 3,
        ("test", "normal"): 12,
        ("validation", "bad"): 6,
        ("test", "bad"): 12,
    }
    groups = Counter(sample.group for sample in dataset.samples)
    assert groups["test_public/bad/000"] == groups["test_public/good/000"] == 3
    assert groups["train/good/000"] == 1
    assert all(mask.name == f"{s.path.stem}_mask.png" for s in defects(dataset) for mask in s.masks)
    assert dataset.notices == (
        "test_private has no labels: its 3 images are not read",
        "test_private_mixed has no labels: its 2 images are not read",
    )
    assert "NC" in dataset.licence


def test_some_lights_may_be_chosen_and_a_name_without_one_is_an_error(tmp_path: Path) -> None:
    root = layouts.mvtec_ad_2(tmp_path)
    some = mvtec_ad_2(root=str(root), lights=["regular", "shift_2"])
    assert {sample.path.stem[4:] for sample in some.samples} == {"regular", "shift_2"}
    with pytest.raises(InputError, match="lights is empty"):
        mvtec_ad_2(root=str(root), lights=[])
    picture(root / "test_public/bad/007_dark.png", 7)
    with pytest.raises(DataError, match=r"1 names say no light: 007_dark\.png; they must end in _regular"):
        mvtec_ad_2(root=str(root))
    shutil.rmtree(root / "validation")
    with pytest.raises(DataError, match="no folder validation/good; root"):
        mvtec_ad_2(root=str(root))


# MVTec LOCO


def test_all_masks_of_an_image_are_united_and_every_value_above_0_counts(tmp_path: Path) -> None:
    dataset = mvtec_loco(root=str(layouts.mvtec_loco(tmp_path)))
    assert {sample.defect for sample in defects(dataset)} == {"logical", "structural"}
    assert found(dataset)["train", "normal"] == 12
    assert found(dataset)["validation", "normal"] == 3
    for sample in defects(dataset):
        assert share_marked(dataset, sample) == pytest.approx(len(sample.masks) * 36 / 400)
    assert {len(sample.masks) for sample in defects(dataset)} == {1, 2}


def test_types_of_defects_are_looked_up_by_their_values(tmp_path: Path) -> None:
    root = layouts.mvtec_loco(tmp_path)
    types = Counter(sample.defect for sample in defects(mvtec_loco(root=str(root), kinds="type")))
    assert types == {"missing_pin": 3, "combined": 3, "broken": 6}
    marked(root / "ground_truth/logical_anomalies/000/000.png", 127)
    with pytest.raises(DataError, match=r"logical_anomalies/000\.png: its masks hold the value 127, which is not in"):
        mvtec_loco(root=str(root))


@pytest.mark.parametrize("content", ["{", "{}", '[{"defect_name": "x"}]', '[{"defect_name": "x", "pixel_value": "a"}]'])
def test_a_damaged_list_of_types_is_an_error(tmp_path: Path, content: str) -> None:
    root = layouts.mvtec_loco(tmp_path)
    (root / "defects_config.json").write_text(content)
    with pytest.raises(DataError, match="it must be a list of types of defects, each with defect_name and pixel_value"):
        mvtec_loco(root=str(root))
    (root / "defects_config.json").unlink()
    with pytest.raises(DataError, match="without it the values in masks have no meaning"):
        mvtec_loco(root=str(root))


# VisA


def test_visa_has_the_official_split_its_kinds_and_masks_above_0(tmp_path: Path) -> None:
    dataset = visa(root=str(layouts.visa(tmp_path)), category="candle")
    kinds = Counter(sample.defect for sample in defects(dataset))
    assert kinds == {"chunk of wax missing": 3, "bent": 3, "combined": 3}
    assert found(dataset)["test", "normal"] == 10
    assert found(dataset)["train", "normal"] + found(dataset)["validation", "normal"] == 20
    assert all(share_marked(dataset, sample) == pytest.approx(36 / 400) for sample in defects(dataset))
    assert dataset.samples[0].id == "Data/Images/Anomaly/000.JPG"
    assert (dataset.name, dataset.licence) == ("candle", "CC BY 4.0")


def test_anomalies_that_visa_publishes_to_train_on_are_set_aside_and_told(tmp_path: Path) -> None:
    dataset = visa(root=str(layouts.visa(tmp_path)), category="candle", protocol="2cls_highshot")
    assert len(defects(dataset)) == 6
    assert dataset.notes["anomalies_set_aside"] == 3
    assert dataset.notices[-1].startswith(
        "3 anomalies among the images to train on are set aside: Data/Images/Anomaly/000"
    )


def test_visa_says_what_is_missing(tmp_path: Path) -> None:
    root = layouts.visa(tmp_path)
    with pytest.raises(DataError, match="no category cashew; there are: candle"):
        visa(root=str(root), category="cashew")
    with pytest.raises(DataError, match=r"2cls_fewshot\.csv: no such file"):
        visa(root=str(root), category="candle", protocol="2cls_fewshot")
    anno = root / "candle/image_anno.csv"
    anno.write_text(anno.read_text().replace("chunk of wax missing", ""))
    with pytest.raises(DataError, match=r"no type of defect for 3 anomalies: candle/Data/Images/Anomaly/000\.JPG"):
        visa(root=str(root), category="candle")
    listed = root / "split_csv/1cls.csv"
    listed.write_text(listed.read_text().replace("anomaly", "defective"))
    with pytest.raises(DataError, match="and normal or anomaly, not test and defective"):
        visa(root=str(root), category="candle")
    mvtec_form(root / "pcb1", lambda at: f"{at:03}.png")
    listed.unlink()
    with pytest.raises(DataError, match=r"no split_csv/1cls\.csv; pcb1 is in the layout of the dataset mvtec"):
        visa(root=str(root), category="pcb1")
