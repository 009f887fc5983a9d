"""The datasets shelf: a contract that every dataset keeps, then what each of them does with its files."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import layouts
import pytest
from layouts import marked, picture
from PIL import Image
from pydantic import ValidationError

from assay import shelves
from assay.contracts import Dataset, Sample
from assay.datasets import elpv as elpv_module
from assay.datasets.elpv import elpv
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.errors import DataError, InputError

SHARED = Path(os.environ.get("ASSAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def mvtec_layout(root: Path, good: int = 20, test_good: int = 4, kinds: dict[str, int] | None = None) -> Path:
    for index in range(good):
        picture(root / f"train/good/{index:03}.png", index)
    for index in range(test_good):
        picture(root / f"test/good/{index:03}.png", 1000 + index)
    for place, (kind, count) in enumerate((kinds or {"crack": 6, "hole": 3}).items()):
        for index in range(count):
            picture(root / f"test/{kind}/{index:03}.png", 10_000 * (place + 1) + index)
            marked(root / f"ground_truth/{kind}/{index:03}_mask.png")
    return root


def plain_folders(root: Path, normals: int = 30, anomalies: int = 12) -> Path:
    for index in range(normals):
        picture(root / f"good/{index:03}.png", index)
    for index in range(anomalies):
        picture(root / f"bad/{index:03}.png", 1000 + index)
    return root


def listed(root: Path) -> Path:
    """The same images with a list of them."""
    lines = ["image,label,mask"]
    for file in sorted(root.rglob("*.png")):
        bad = file.parent.name == "bad"
        if bad:
            marked(root / "masks" / file.name)
        lines.append(f"{file.relative_to(root)},{'bad' if bad else 'ok'},{f'masks/{file.name}' if bad else ''}")
    (root / "list.csv").write_text("\n".join(lines))
    return root


def arguments(name: str, tmp_path: Path) -> dict[str, object]:
    """What a dataset needs to be built here; a new dataset that needs arguments gets a line in this function."""
    if name == "elpv":
        # In the extra `test`, but not for a commercial user of the sources: its licence is non-commercial.
        pytest.importorskip("elpv_dataset")
        return {}
    if name == "mvtec":
        return {"root": str(mvtec_layout(tmp_path / "mvtec"))}
    if name == "folder":
        root = plain_folders(tmp_path / "plain")
        for index in range(12):
            marked(root / f"masks/bad/{index:03}.png")
        return {"root": str(root), "normal": "good", "anomalous": "bad", "masks": "masks"}
    if name == "table":
        return {"root": str(listed(plain_folders(tmp_path / "listed"))), "file": "list.csv", "mask": "mask"}
    if name == "real_iad":
        return {"root": str(layouts.real_iad(tmp_path)), "category": "plug"}
    if name == "dagm":
        return {"root": str(layouts.dagm(tmp_path)), "category": "Class1"}
    if name == "visa":
        return {"root": str(layouts.visa(tmp_path)), "category": "candle"}
    if name in ("mvtec_ad_2", "mvtec_loco", "kolektor"):
        return {"root": str(getattr(layouts, name)(tmp_path))}
    if name == "one_vs_rest":
        return {"root": str(layouts.mnist(tmp_path)), "normal": 1}
    if any(field.is_required() for field in shelves.fields(shelves.load("datasets", name)).values()):
        pytest.skip(f"{name} has required parameters and no line in `arguments`")
    return {}


def build(name: str, **values: object) -> Dataset:
    item = shelves.Item("datasets", name, values)
    dataset: Dataset = item.function(**item.arguments())
    return dataset


def counts(dataset: Dataset) -> Counter[tuple[str, str]]:
    return Counter((sample.split, sample.defect) for sample in dataset.samples)


def places(dataset: Dataset) -> dict[str, str]:
    return {sample.id: sample.split for sample in dataset.samples}


# The contract


@pytest.fixture(params=shelves.names("datasets"))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, object]]:
    return request.param, arguments(request.param, tmp_path)


def test_every_split_holds_what_it_must(case: tuple[str, dict[str, object]]) -> None:
    dataset = build(case[0], **case[1])
    labels = {name: {s.label for s in dataset.samples if s.split == name} for name in ("train", "validation", "test")}
    assert labels == {"train": {0}, "validation": {0, 1}, "test": {0, 1}}


def test_with_pseudo_anomalies_every_labelled_anomaly_is_left_to_the_test_split(
    case: tuple[str, dict[str, object]],
) -> None:
    labelled, pseudo = (build(case[0], **case[1], validation_anomalies=kind) for kind in ("labelled", "pseudo"))
    assert {s.split for s in pseudo.samples if s.label} == {"test"}
    assert pseudo.validation_anomalies == "pseudo"
    with_anomalies = {s.group for s in pseudo.samples if s.label and s.group}  # their normals go with them
    normals = [
        {s.id: s.split for s in dataset.samples if not s.label and s.group not in with_anomalies}
        for dataset in (labelled, pseudo)
    ]
    assert normals[0] == normals[1]


def test_samples_are_files_with_relative_ids_in_a_fixed_order(case: tuple[str, dict[str, object]]) -> None:
    dataset = build(case[0], **case[1])
    ids = [sample.id for sample in dataset.samples]
    assert ids == sorted(set(ids))
    assert all(sample.path.is_file() for sample in dataset.samples)
    assert not any(id_.startswith("/") or str(Path.home()) in id_ for id_ in ids)
    assert all((sample.defect == "normal") == (sample.label == 0) for sample in dataset.samples)


def test_the_split_follows_the_seed_and_nothing_else(
    case: tuple[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, values = case
    first = build(name, **values)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(listed(self))))
    assert build(name, **values) == first
    other = build(name, **values, split_seed=1)
    assert places(other) != places(first)
    assert counts(other) == counts(first)


@pytest.mark.parametrize(
    ("key", "value"),
    [("image_size", 8), ("image_size", 4097), ("channels", 2), ("validation_fraction", 1.5), ("split_seed", -1)],
)
def test_values_out_of_range_are_refused(case: tuple[str, dict[str, object]], key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        build(case[0], **{**case[1], key: value})


def test_every_dataset_lets_a_file_set_what_all_of_them_have(case: tuple[str, dict[str, object]]) -> None:
    function = shelves.load("datasets", case[0])
    common = {"image_size", "channels", "split_seed", "validation_anomalies", "duplicates"}
    assert common <= set(shelves.fields(function))
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(function).parameters.values())
    dataset = build(case[0], **case[1], channels=3, image_size=32)
    assert (dataset.channels, dataset.image_size) == (3, 32)


WITHOUT_MASKS = {"elpv", "one_vs_rest"}
"""Sets whose images have no masks."""


def test_groups_and_masks_go_together_and_no_group_is_split(case: tuple[str, dict[str, object]]) -> None:
    """Images whose ids differ in the last digit alone are a group here."""
    pattern = r"(S\d+)/" if case[0] == "real_iad" else r"^(.*?/?.*)\d[^\d/]*$"
    plain, grouped = build(case[0], **case[1]), build(case[0], **case[1], group_pattern=pattern)
    splits: dict[str | None, set[str]] = {}
    for sample in grouped.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert None not in splits
    assert max(Counter(sample.group for sample in grouped.samples).values()) > 1
    assert {group for group, of in splits.items() if len(of) > 1} == set()
    masks = [{sample.id: sample.masks for sample in one.samples} for one in (plain, grouped)]
    assert {id_: masks[0][id_] for id_ in masks[1]} == masks[1]
    assert any(masks[1].values()) == (case[0] not in WITHOUT_MASKS)


# ELPV


@pytest.fixture
def package() -> None:
    pytest.importorskip("elpv_dataset", reason="elpv-dataset is not installed; it is in the extras demo and test")


@pytest.mark.usefixtures("package")
def test_elpv_keeps_the_certain_cells_and_splits_them_60_20_20() -> None:
    dataset = elpv()
    assert dataset.notes["uncertain_dropped"] == 117 + 56
    found = counts(dataset)
    assert (found["train", "normal"], found["validation", "normal"], found["test", "normal"]) == (353, 118, 117)
    assert (found["validation", "defective"], found["test", "defective"]) == (104, 209)
    assert "NonCommercial" in dataset.licence
    assert (dataset.image_size, dataset.channels) == (64, 1)


@pytest.mark.usefixtures("package")
def test_elpv_splits_the_cells_of_one_type_alike_alone_and_among_all() -> None:
    mono, poly, both = (places(elpv(cells=cells)) for cells in ("mono", "poly", "all"))
    assert len(both) == 1508 + 715
    assert mono | poly == both


def test_elpv_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elpv_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'assay\[demo\]'"):
        elpv()


def test_elpv_with_damaged_labels_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text("images/cell0001.png likely mono\n")
    monkeypatch.setattr(elpv_module, "_folder", lambda: tmp_path)
    with pytest.raises(DataError, match=r"labels\.csv: cannot be read as lines of image, probability and type"):
        elpv()


# MVTec layout


def test_mvtec_takes_validation_from_training_normals_and_test_anomalies(tmp_path: Path) -> None:
    found = counts(mvtec(root=str(mvtec_layout(tmp_path))))
    assert found == {
        ("train", "normal"): 16,
        ("validation", "normal"): 4,
        ("test", "normal"): 4,
        ("validation", "crack"): 2,
        ("test", "crack"): 4,
        ("validation", "hole"): 1,
        ("test", "hole"): 2,
    }


def test_mvtec_keeps_the_published_split(tmp_path: Path) -> None:
    dataset = mvtec(root=str(mvtec_layout(tmp_path)))
    assert {s.split for s in dataset.samples if s.id.startswith("train/")} == {"train", "validation"}
    assert {s.split for s in dataset.samples if s.id.startswith("test/good/")} == {"test"}


def test_mvtec_takes_one_of_every_kind_that_has_three_even_for_a_small_fraction(tmp_path: Path) -> None:
    root = mvtec_layout(tmp_path, kinds={"crack": 3, "hole": 9, "stain": 1})
    found = counts(mvtec(root=str(root), validation_anomaly_fraction=0.01))
    assert (found["validation", "crack"], found["validation", "hole"], found["validation", "stain"]) == (1, 1, 0)


def test_mvtec_finds_masks_and_counts_missing_and_empty_ones(tmp_path: Path) -> None:
    root = mvtec_layout(tmp_path)
    (root / "ground_truth/hole/000_mask.png").unlink()
    Image.new("L", (20, 20), 127).save(root / "ground_truth/hole/001_mask.png")
    (root / "train/good/Thumbs.db").write_bytes(b"x")
    dataset = mvtec(root=str(root))
    masks = {s.id: s.masks for s in dataset.samples if s.defect == "hole"}
    assert masks["test/hole/000.png"] == ()
    assert masks["test/hole/001.png"] == (root / "ground_truth/hole/001_mask.png",)
    assert all(s.masks == () for s in dataset.samples if s.label == 0)
    assert dataset.notes == {"split_seed": 0, "files_skipped": 1, "anomalies_without_mask": 1, "empty_masks": 1}


def test_mvtec_keeps_equal_files_of_the_training_folder_together(tmp_path: Path) -> None:
    root = mvtec_layout(tmp_path, good=12)
    for index in range(12):
        (root / f"train/good/copy{index:03}.png").write_bytes((root / f"train/good/{index:03}.png").read_bytes())
    for seed in range(5):
        where = places(mvtec(root=str(root), split_seed=seed))
        assert all(where[f"train/good/copy{i:03}.png"] == where[f"train/good/{i:03}.png"] for i in range(12))


def test_mvtec_names_a_dataset_after_its_category(tmp_path: Path) -> None:
    mvtec_layout(tmp_path / "screw")
    assert mvtec(root=str(tmp_path), category="screw").name == "screw"
    assert mvtec(root=str(tmp_path / "screw")) == mvtec(root=str(tmp_path), category="screw")


def test_mvtec_says_what_the_layout_lacks(tmp_path: Path) -> None:
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no folder test; root .with category. must hold train/good and test/<kind>"):
        mvtec(root=str(tmp_path))
    with pytest.raises(InputError, match="validation_fraction 1 leaves nothing to train on"):
        mvtec(root=str(tmp_path), validation_fraction=1.0)


@pytest.mark.skipif(not (SHARED / "magnetic_tile").is_dir(), reason="no magnetic_tile below ASSAY_TEST_DATA")
def test_mvtec_reads_real_tiles() -> None:
    dataset = mvtec(root=str(SHARED), category="magnetic_tile")
    assert Counter(s.label for s in dataset.samples) == {0: 160, 1: 64}
    assert dataset.notes["anomalies_without_mask"] == 0
    assert dataset.notes["empty_masks"] == 3
    assert counts(dataset)["validation", "fray"] >= 1


# Plain folders


def plain(root: Path, **values: object) -> Dataset:
    return build("folder", root=str(root), normal="good", anomalous="bad", **values)


def test_folders_are_split_by_share(tmp_path: Path) -> None:
    assert counts(plain(plain_folders(tmp_path))) == {
        ("train", "normal"): 18,
        ("validation", "normal"): 6,
        ("test", "normal"): 6,
        ("validation", "bad"): 4,
        ("test", "bad"): 8,
    }


def test_several_folders_of_a_class_keep_their_kinds(tmp_path: Path) -> None:
    plain_folders(tmp_path)
    for index in range(9):
        picture(tmp_path / f"more/worse/{index}.png", 5000 + index)
    found = counts(build("folder", root=str(tmp_path), normal=["good"], anomalous=["bad", "more/worse"]))
    assert (found["validation", "worse"], found["test", "worse"]) == (3, 6)
    assert (found["validation", "bad"], found["test", "bad"]) == (4, 8)


def test_groups_are_never_split_and_a_group_with_an_anomaly_never_trains(tmp_path: Path) -> None:
    for patient in range(20):
        for slice_ in range(3):
            kind = "bad" if patient < 6 and slice_ == 0 else "good"
            picture(tmp_path / kind / f"patient{patient:02}_{slice_}.png", 10 * patient + slice_)
    for seed in range(5):
        dataset = plain(tmp_path, group_pattern=r"^(patient\d+)_", split_seed=seed)
        splits: dict[str | None, set[str]] = {}
        for sample in dataset.samples:
            splits.setdefault(sample.group, set()).add(sample.split)
        assert len(splits) == 20
        assert all(len(names) == 1 for names in splits.values())
        ill = {sample.group for sample in dataset.samples if sample.label}
        assert all(sample.split != "train" for sample in dataset.samples if sample.group in ill)
        assert counts(dataset)["train", "normal"] == pytest.approx(0.6 * 54, abs=3)


def test_equal_pictures_stay_in_one_split_whatever_their_format(tmp_path: Path) -> None:
    plain_folders(tmp_path, normals=12)
    for index in range(12):
        Image.open(tmp_path / f"good/{index:03}.png").convert("RGB").save(tmp_path / f"good/x{11 - index:03}.bmp")
    for seed in range(5):
        where = places(plain(tmp_path, split_seed=seed))
        assert all(where[f"good/{i:03}.png"] == where[f"good/x{11 - i:03}.bmp"] for i in range(12))


def test_a_picture_that_is_both_normal_and_anomalous_never_trains(tmp_path: Path) -> None:
    plain_folders(tmp_path)
    (tmp_path / "good/twin.png").write_bytes((tmp_path / "bad/000.png").read_bytes())
    for seed in range(5):
        where = places(plain(tmp_path, split_seed=seed))
        assert where["good/twin.png"] == where["bad/000.png"] != "train"


def test_other_files_are_counted_and_unreadable_images_are_errors(tmp_path: Path) -> None:
    plain_folders(tmp_path)
    (tmp_path / "good/Thumbs.db").write_bytes(b"x")
    (tmp_path / "bad/readme.txt").write_bytes(b"x")
    assert plain(tmp_path).notes["files_skipped"] == 2
    (tmp_path / "bad/broken.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"broken\.png: cannot be decoded"):
        plain(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("(", InputError, "is not a regular expression"),
        (r"\d+", InputError, "has no group; put .* in parentheses"),
        (r"^(1\d*)", DataError, r"finds no group in 42 of 42 file names, such as bad/000\.png"),
    ],
)
def test_faulty_group_patterns_are_errors(tmp_path: Path, pattern: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        plain(plain_folders(tmp_path), group_pattern=pattern)


def test_folders_named_twice_or_absolutely_are_errors(tmp_path: Path) -> None:
    plain_folders(tmp_path)
    with pytest.raises(DataError, match=r"30 images are listed twice, such as good/000\.png"):
        folder(root=str(tmp_path), normal="good", anomalous=["bad", "./good"])
    with pytest.raises(InputError, match="is absolute; write it relative to root"):
        folder(root=str(tmp_path), normal=str(tmp_path / "good"), anomalous="bad")


def test_ids_and_splits_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    def without_paths(dataset: Dataset) -> list[Sample]:
        return [replace(sample, path=Path(), masks=()) for sample in dataset.samples]

    here, there = (plain(plain_folders(tmp_path / name / "cells")) for name in ("here", "there"))
    assert without_paths(here) == without_paths(there)
    assert here.name == there.name == "cells"


@pytest.mark.skipif(not (SHARED / "brain_mri").is_dir(), reason="no brain_mri below ASSAY_TEST_DATA")
def test_folder_reads_real_scans() -> None:
    dataset = folder(root=str(SHARED / "brain_mri"), normal="no", anomalous="yes")
    assert Counter(s.defect for s in dataset.samples) == {"normal": 98, "yes": 155}
    where = places(dataset)
    assert where["no/1 no.jpeg"] == where["no/no 94.jpg"]


# Labelled anomalies and contamination


WITH_LABELS = ["elpv", "folder", "mvtec"]


@pytest.fixture(params=WITH_LABELS)
def labelling(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, object]]:
    if request.param == "mvtec":
        return "mvtec", {"root": str(mvtec_layout(tmp_path, kinds={"crack": 12, "hole": 6}))}
    return request.param, arguments(request.param, tmp_path)


def of(dataset: Dataset, split: str) -> set[str]:
    return {sample.id for sample in dataset.samples if sample.split == split}


def test_labelled_anomalies_leave_the_test_split_and_nothing_else_changes(
    labelling: tuple[str, dict[str, object]],
) -> None:
    name, values = labelling
    plain, some = build(name, **values), build(name, **values, labelled_anomalies=3)
    assert len(of(some, "labelled")) == 3
    assert of(some, "labelled") | of(some, "test") == of(plain, "test")
    assert all(of(some, split) == of(plain, split) for split in ("train", "validation"))
    assert {s.label for s in some.samples if s.split == "labelled"} == {1}
    assert some.notes == {
        **plain.notes,
        "labelled_seed": 0,
        "anomalies_labelled": 3,
        "anomalies_contamination": 0,
    }


def test_labelled_anomalies_follow_their_own_seed_and_fewer_are_among_more(
    labelling: tuple[str, dict[str, object]],
) -> None:
    name, values = labelling
    drawn = [of(build(name, **values, labelled_anomalies=2, labelled_seed=s), "labelled") for s in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert any(other != drawn[0] for other in drawn[2:])
    assert of(build(name, **values, labelled_anomalies=1), "labelled") < drawn[0]


def test_contamination_is_a_share_of_all_train_images(labelling: tuple[str, dict[str, object]]) -> None:
    name, values = labelling
    plain = build(name, **values)
    hidden = build(name, **values, contamination="1/10", labelled_anomalies=1)
    count, normals = len(of(hidden, "contamination")), len(of(plain, "train"))
    assert count == round(normals / 9)
    assert hidden.notes["anomalies_contamination"] == count
    assert of(hidden, "contamination") | of(hidden, "labelled") | of(hidden, "test") == of(plain, "test")
    assert {s.label for s in hidden.samples if s.split == "contamination"} == {1}


def test_at_most_half_of_the_test_anomalies_may_be_drawn(labelling: tuple[str, dict[str, object]]) -> None:
    name, values = labelling
    most = sum(s.label for s in build(name, **values).samples if s.split == "test") // 2
    assert len(of(build(name, **values, labelled_anomalies=most), "labelled")) == most
    with pytest.raises(InputError, match=rf"labelled_anomalies {most + 1} .* at most half, {most}, may be"):
        build(name, **values, labelled_anomalies=most + 1)
    with pytest.raises(InputError, match=rf"contamination 0\.5 .* at most half, {most}"):
        build(name, **values, contamination=0.5, labelled_anomalies=most)


@pytest.mark.parametrize(("key", "value"), [("labelled_anomalies", -1), ("contamination", 0.6), ("contamination", -1)])
def test_shares_and_counts_out_of_range_are_refused(
    labelling: tuple[str, dict[str, object]], key: str, value: float
) -> None:
    with pytest.raises(ValidationError):
        build(labelling[0], **labelling[1], **{key: value})


def test_unseen_kinds_are_in_the_test_split_alone(tmp_path: Path) -> None:
    root = str(mvtec_layout(tmp_path, kinds={"crack": 12, "hole": 6, "stain": 6}))
    found = mvtec(root=root, labelled_anomalies=3, labelled_kinds=["crack"], contamination=0.05)
    assert {s.split for s in found.samples if s.defect in ("hole", "stain")} == {"test"}
    assert {s.defect for s in found.samples if s.split in ("labelled", "contamination", "validation") and s.label} == {
        "crack"
    }
    assert found.notes["labelled_kinds"] == "crack"
    with pytest.raises(InputError, match="at most half, 4, may be"):
        mvtec(root=root, labelled_anomalies=5, labelled_kinds=["crack"])


def test_unseen_kinds_of_plain_folders_are_in_the_test_split_alone(tmp_path: Path) -> None:
    plain_folders(tmp_path)
    for index in range(9):
        picture(tmp_path / f"worse/{index}.png", 5000 + index)
    (tmp_path / "worse/twin.png").write_bytes((tmp_path / "bad/000.png").read_bytes())
    for seed in range(4):
        values = {"normal": "good", "anomalous": ["bad", "worse"], "split_seed": seed, "labelled_seed": seed}
        found = build("folder", root=str(tmp_path), **values, labelled_anomalies=3, labelled_kinds=["bad"])
        where = places(found)
        assert {where[s.id] for s in found.samples if s.defect == "worse"} == {"test"}
        assert where["bad/000.png"] == "test"
        assert counts(found)["labelled", "bad"] == 3


@pytest.mark.parametrize("kinds", [["dent"], ["good"], []])
def test_an_unknown_kind_is_refused_with_those_there_are(tmp_path: Path, kinds: list[str]) -> None:
    with pytest.raises(InputError, match=r"labelled_kinds: .*there are: crack, hole"):
        mvtec(root=str(mvtec_layout(tmp_path)), labelled_anomalies=1, labelled_kinds=kinds)


def test_groups_are_drawn_whole_and_their_normals_train(tmp_path: Path) -> None:
    for patient in range(20):
        for slice_ in range(3):
            kind = "bad" if patient < 10 and slice_ < 2 else "good"
            picture(tmp_path / kind / f"patient{patient:02}_{slice_}.png", 10 * patient + slice_)
    for seed in range(4):
        values = {"group_pattern": r"^(patient\d+)_", "labelled_seed": seed}
        before, after = plain(tmp_path, **values), plain(tmp_path, **values, labelled_anomalies=4)
        groups = {s.group for s in after.samples if s.split == "labelled"}
        assert len(of(after, "labelled")) == 4
        assert len(groups) == 2
        assert {s.split for s in after.samples if s.group in groups} == {"labelled", "train"}
        assert len(of(after, "train")) == len(of(before, "train")) + 2
        with pytest.raises(InputError, match="cannot be drawn in whole groups: 1 images are missing"):
            plain(tmp_path, **values, labelled_anomalies=3)
