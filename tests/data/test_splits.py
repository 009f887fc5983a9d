"""From a dataset to images: the checks before anything is handed out, the cache, pseudo-anomalies and the hash."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assay.contracts import Dataset, Sample, TrainingData
from assay.data import decode_cache, file_facts, splits
from assay.data.images import decode, pixel_hash
from assay.data.reduced import take
from assay.datasets.folder import folder
from assay.errors import DataError

SIZE = 16


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Six train normals, and four normals and two anomalies in each of the other splits."""
    samples = []
    for split, label, count in [
        ("train", 0, 6),
        ("validation", 0, 4),
        ("validation", 1, 2),
        ("test", 0, 4),
        ("test", 1, 2),
    ]:
        for index in range(count):
            name = f"{split}-{label}-{index}"
            path = picture(tmp_path / "images" / f"{name}.png", len(samples))
            samples.append(Sample(name, path, label, split, "scratch" if label else "normal"))
    return Dataset("cells", tuple(samples), SIZE, 1, "labelled", licence="CC0-1.0", notes={"dropped": 3})


def pseudo(dataset: Dataset) -> Dataset:
    kept = tuple(s for s in dataset.samples if not (s.split == "validation" and s.label))
    return replace(dataset, samples=kept, validation_anomalies="pseudo")


def changed(dataset: Dataset, id_: str, **values: object) -> Dataset:
    """The dataset with one sample changed."""
    assert any(sample.id == id_ for sample in dataset.samples)
    return replace(dataset, samples=tuple(replace(s, **values) if s.id == id_ else s for s in dataset.samples))


def copied(dataset: Dataset, source: str, target: str) -> None:
    """Give the sample `target` the picture of `source`."""
    paths = {sample.id: sample.path for sample in dataset.samples}
    paths[target].write_bytes(paths[source].read_bytes())


# What is handed out


def test_training_data_holds_the_two_splits_as_decoded(dataset: Dataset, cache: Path) -> None:
    found = splits.training_data(dataset, cache=cache)
    assert isinstance(found, TrainingData)
    assert found.train.ids == tuple(f"train-0-{index}" for index in range(6))
    assert found.validation.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.validation.defects[-1] == "scratch"
    assert found.train.labels.dtype == np.int64
    for images in (found.train, found.validation):
        assert isinstance(images.pixels, np.memmap)
        assert not images.pixels.flags.writeable
        paths = {sample.id: sample.path for sample in dataset.samples}
        for row, id_, hash_ in zip(images.pixels, images.ids, images.hashes, strict=True):
            assert np.array_equal(row, decode(paths[id_], size=SIZE, channels=1))
            assert pixel_hash(row) == hash_


def test_a_trial_never_sees_a_test_image_and_the_audit_sees_only_those(dataset: Dataset, cache: Path) -> None:
    training, audit = splits.training_data(dataset, cache=cache), splits.test_images(dataset, cache=cache)
    assert set(audit.ids) == {sample.id for sample in dataset.samples if sample.split == "test"}
    assert audit.labels.tolist() == [0, 0, 0, 0, 1, 1]
    seen = {*training.train.hashes, *training.validation.hashes}
    assert not seen & set(audit.hashes)
    assert not set(training.train.ids + training.validation.ids) & set(audit.ids)


def test_the_description_is_plain_and_says_what_was_used(dataset: Dataset, cache: Path) -> None:
    description = splits.training_data(dataset, cache=cache).description
    assert json.loads(json.dumps(description)) == description
    assert description == {
        "name": "cells",
        "hash": splits.dataset_hash(dataset, cache=cache),
        "image_size": SIZE,
        "channels": 1,
        "counts": {
            "train": {"normal": 6, "anomalous": 0},
            "validation": {"normal": 4, "anomalous": 2},
            "test": {"normal": 4, "anomalous": 2},
        },
        "validation_anomalies": "labelled",
        "licence": "CC0-1.0",
        "notes": {"dropped": 3, "duplicates_in_train": 0, "duplicates_in_validation": 0, "duplicates_in_test": 0},
    }


# Labelled anomalies and contamination


@pytest.fixture
def few_shot(dataset: Dataset, tmp_path: Path) -> Dataset:
    """Two labelled anomalies and three hidden among the train normals besides."""
    more = [
        Sample(
            f"{split}-{n}", picture(tmp_path / "images" / f"{split}-{n}.png", 900 + 10 * count + n), 1, split, "dent"
        )
        for split, count in (("labelled", 2), ("contamination", 3))
        for n in range(count)
    ]
    return replace(dataset, samples=(*dataset.samples, *more))


def test_labelled_anomalies_are_handed_out_as_such_and_there_are_none_by_default(
    dataset: Dataset, few_shot: Dataset, cache: Path
) -> None:
    assert len(splits.training_data(dataset, cache=cache).labelled) == 0
    found = splits.training_data(few_shot, cache=cache)
    assert found.labelled.ids == ("labelled-0", "labelled-1")
    assert found.labelled.labels.tolist() == [1, 1]
    assert found.labelled.defects == ("dent", "dent")
    assert found.labelled.pixels.shape == (2, 1, SIZE, SIZE)


def test_hidden_anomalies_are_among_the_normals_under_their_label(few_shot: Dataset, cache: Path) -> None:
    train = splits.training_data(few_shot, cache=cache).train
    assert set(train.ids) == {f"train-0-{n}" for n in range(6)} | {f"contamination-{n}" for n in range(3)}
    assert train.labels.tolist() == [0] * 9
    assert train.defects == ("normal",) * 9
    paths = {sample.id: sample.path for sample in few_shot.samples}
    for row, id_, hash_ in zip(train.pixels, train.ids, train.hashes, strict=True):
        assert np.array_equal(row, decode(paths[id_], size=SIZE, channels=1))
        assert pixel_hash(row) == hash_
    assert list(train.hashes) == sorted(train.hashes)


def test_the_description_counts_what_is_labelled_and_what_is_hidden(few_shot: Dataset, cache: Path) -> None:
    counts = splits.training_data(few_shot, cache=cache).description["counts"]
    assert counts["train"] == {"normal": 6, "anomalous": 0}
    assert counts["labelled"] == {"normal": 0, "anomalous": 2}
    assert counts["contamination"] == {"normal": 0, "anomalous": 3}


def test_no_test_image_is_among_what_is_trained_on(few_shot: Dataset, cache: Path) -> None:
    training, audit = splits.training_data(few_shot, cache=cache), splits.test_images(few_shot, cache=cache)
    assert set(audit.ids) == {sample.id for sample in few_shot.samples if sample.split == "test"}
    seen = {*training.train.hashes, *training.labelled.hashes, *training.validation.hashes}
    assert not seen & set(audit.hashes)


@pytest.mark.parametrize("split", ["labelled", "contamination"])
def test_a_test_image_that_is_trained_on_as_an_anomaly_is_an_error(few_shot: Dataset, cache: Path, split: str) -> None:
    copied(few_shot, f"{split}-0", "test-1-0")
    with pytest.raises(DataError, match=rf"1 image is the same .*{split}-0 \({split}\) = test-1-0 \(test\)"):
        splits.training_data(few_shot, cache=cache)


def test_the_hash_depends_on_what_is_labelled_and_what_is_hidden(few_shot: Dataset, cache: Path) -> None:
    variants = [
        few_shot,
        changed(few_shot, "labelled-0", split="contamination"),
        changed(few_shot, "labelled-0", split="test"),
        changed(few_shot, "contamination-0", split="train", label=0, defect="normal"),
    ]
    assert len({splits.dataset_hash(variant, cache=cache) for variant in variants}) == 4


def test_the_hash_of_a_dataset_without_them_is_what_it_always_was(dataset: Dataset, cache: Path) -> None:
    rows = []
    for sample in dataset.samples:
        pixels = pixel_hash(decode(sample.path, size=SIZE, channels=1))
        rows.append((sample.split, sample.label, sample.defect, pixels))
    expected = hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()
    assert splits.dataset_hash(dataset, cache=cache) == expected


def test_a_normal_among_labelled_anomalies_is_refused(few_shot: Dataset, cache: Path) -> None:
    with pytest.raises(DataError, match="labelled-1 is a normal; the splits labelled, contamination hold anomalies"):
        splits.training_data(changed(few_shot, "labelled-1", label=0), cache=cache)


def test_a_group_may_hold_labelled_anomalies_and_train_normals_but_no_test_image(
    few_shot: Dataset, cache: Path
) -> None:
    grouped = changed(changed(few_shot, "labelled-1", group="p"), "train-0-0", group="p")
    assert len(splits.training_data(grouped, cache=cache).labelled) == 2
    with pytest.raises(DataError, match="1 groups are in two splits, such as p"):
        splits.training_data(changed(grouped, "test-0-0", group="p"), cache=cache)


def test_groups_go_with_their_images_and_are_counted(dataset: Dataset, cache: Path) -> None:
    assert "groups" not in splits.training_data(dataset, cache=cache).description
    tests = [sample.id for sample in dataset.samples if sample.split == "test" and sample.label == 0]
    grouped = dataset
    for id_ in tests[:2]:
        grouped = changed(grouped, id_, group="part")
    found = splits.training_data(grouped, cache=cache).description
    before = found["counts"]["test"]
    assert found["groups"]["test"] == {"normal": before["normal"] - 1, "anomalous": before["anomalous"]}
    assert found["groups"]["train"] == found["counts"]["train"]
    images = splits.test_images(grouped, cache=cache)
    assert [id_ for id_, group in zip(images.ids, images.groups, strict=True) if group == "part"] == tests[:2]
    assert take(images, [0, 1]).groups == images.groups[:2]
    assert take(images, [0, 1]).parts == tuple(
        group or id_ for id_, group in zip(images.ids[:2], images.groups, strict=False)
    )


# What is refused


def test_the_same_picture_in_two_splits_is_an_error_unless_allowed(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "train-0-1", "test-0-2")
    for use in (splits.training_data, splits.test_images, splits.dataset_hash):
        with pytest.raises(DataError, match=r"1 image is the same .*train-0-1 \(train\) = test-0-2 \(test\)") as caught:
            use(dataset, cache=cache)
        assert "`duplicates: allow`" in str(caught.value)
    allowed = replace(dataset, duplicates="allow")
    assert len(splits.training_data(allowed, cache=cache).train) == 6


def test_the_same_picture_in_another_format_is_found(dataset: Dataset, cache: Path, tmp_path: Path) -> None:
    path = next(sample.path for sample in dataset.samples if sample.id == "train-0-0")
    Image.open(path).convert("RGB").save(tmp_path / "copy.bmp")
    with pytest.raises(DataError, match="1 image is the same as another"):
        splits.training_data(changed(dataset, "validation-0-0", path=tmp_path / "copy.bmp"), cache=cache)


def test_at_most_five_pairs_are_listed(dataset: Dataset, cache: Path) -> None:
    for index in range(6):
        target = ("validation-0-0", "validation-0-1", "validation-0-2", "test-0-0", "test-0-1", "test-0-2")[index]
        copied(dataset, f"train-0-{index}", target)
    with pytest.raises(DataError, match="6 images are the same as another") as caught:
        splits.training_data(dataset, cache=cache)
    assert str(caught.value).count(" = ") == 5


def test_the_same_picture_under_two_labels_is_an_error(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "test-0-0", "test-1-0")
    with pytest.raises(DataError, match=r"under another label: test-0-0 \(normal\) = test-1-0 \(scratch\)"):
        splits.test_images(dataset, cache=cache)


def test_repeated_pictures_within_a_split_are_only_counted(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "train-0-0", "train-0-1")
    copied(dataset, "train-0-0", "train-0-2")
    notes = splits.training_data(dataset, cache=cache).description["notes"]
    assert notes["duplicates_in_train"] == 2
    assert notes["duplicates_in_test"] == 0


def without(dataset: Dataset, split: str, label: int) -> Dataset:
    return replace(dataset, samples=tuple(s for s in dataset.samples if (s.split, s.label) != (split, label)))


FAULTS: list[tuple[Callable[[Dataset], Dataset], str]] = [
    (lambda d: without(d, "train", 0), "cells: no image to train on"),
    (lambda d: changed(d, "train-0-3", label=1), "1 anomalies in the train split, such as train-0-3"),
    (lambda d: without(d, "test", 1), r"the test split has only one class \(4 normals, 0 anomalies\)"),
    (lambda d: without(d, "test", 0), r"the test split has only one class \(0 normals, 2 anomalies\)"),
    (lambda d: without(d, "validation", 1), "the validation split has only one class"),
    (lambda d: without(without(d, "validation", 0), "validation", 1), r"only one class \(0 normals, 0 anomalies\)"),
    (lambda d: changed(d, "test-0-0", id="train-0-0"), "1 ids name two samples each, such as train-0-0"),
    (
        lambda d: changed(changed(d, "test-0-0", group="patient 7"), "train-0-0", group="patient 7"),
        "1 groups are in two splits, such as patient 7",
    ),
    (lambda d: changed(d, "test-0-0", split="testing"), "test-0-0 has split 'testing' and label 0; a split is one of"),
    (lambda d: changed(d, "test-0-0", label=2), "label 2; .* a label 0 .normal. or 1"),
    (lambda d: replace(d, validation_anomalies="pseudo"), "with pseudo-anomalies .* must hold normals only"),
    (lambda d: without(pseudo(d), "validation", 0), "must hold normals only, two or more"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faulty_datasets_are_refused_before_anything_is_decoded(
    dataset: Dataset, cache: Path, spoil: Callable[[Dataset], Dataset], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        splits.training_data(spoil(dataset), cache=cache)
    assert not cache.exists()


def test_an_unreadable_image_is_an_error_that_names_it(dataset: Dataset, cache: Path) -> None:
    dataset.samples[0].path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train-0-0\.png: cannot be decoded"):
        splits.training_data(dataset, cache=cache)
    assert not list(cache.glob("*.npy"))


# The cache


def spy_on_decoding(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    opened: list[Path] = []
    really_open = decode_cache.stored

    def stored(path: Path) -> tuple[Image.Image, int]:
        opened.append(path)
        return really_open(path)

    monkeypatch.setattr(decode_cache, "stored", stored)
    return opened


def test_every_image_is_decoded_once(dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = spy_on_decoding(monkeypatch)
    splits.training_data(dataset, cache=cache)
    assert len(opened) == len(dataset.samples)
    splits.training_data(dataset, cache=cache)
    splits.test_images(dataset, cache=cache)
    assert len(opened) == len(dataset.samples)


def test_another_size_or_channels_or_content_is_another_entry(dataset: Dataset, cache: Path) -> None:
    first = splits.training_data(dataset, cache=cache)
    assert splits.training_data(replace(dataset, image_size=20), cache=cache).train.pixels.shape == (6, 1, 20, 20)
    assert splits.training_data(replace(dataset, channels=3), cache=cache).train.pixels.shape == (6, 3, 16, 16)
    picture(dataset.samples[0].path, 999)
    again = splits.training_data(dataset, cache=cache)
    assert again.train.hashes[0] != first.train.hashes[0]
    assert again.train.hashes[1:] == first.train.hashes[1:]


def test_a_new_decode_version_decodes_again(dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits.training_data(dataset, cache=cache)
    opened = spy_on_decoding(monkeypatch)
    monkeypatch.setattr(decode_cache, "DECODE_VERSION", decode_cache.DECODE_VERSION + 1)
    splits.training_data(dataset, cache=cache)
    assert len(opened) == len(dataset.samples)


def flip_a_pixel(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes(bytes(content))


def swap_hashes(entry: Path) -> None:
    record = json.loads(entry.with_suffix(".json").read_text())
    record["hashes"].reverse()
    entry.with_suffix(".json").write_text(json.dumps(record))


def another_form(entry: Path) -> None:
    """A sound record, as a version of Assay with other fields writes it."""
    record = json.loads(entry.with_suffix(".json").read_text())
    record = {**record, "largest": 0}
    del record["seal"]
    record["seal"] = decode_cache._seal(record)
    entry.with_suffix(".json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        swap_hashes,
        another_form,
        lambda entry: entry.write_bytes(entry.read_bytes()[:-100]),
        lambda entry: entry.write_bytes(b""),
        lambda entry: entry.with_suffix(".json").write_text("{"),
        lambda entry: entry.with_suffix(".json").write_text("[]"),
        lambda entry: entry.with_suffix(".json").write_text("{}"),
        lambda entry: entry.with_suffix(".json").write_bytes(b"\xff\xfe\x00"),
    ],
    ids=["pixel", "hashes", "form", "truncated", "empty", "broken json", "list", "nothing", "bytes"],
)
def test_a_damaged_entry_is_noticed_and_made_again(
    dataset: Dataset, cache: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    expected = np.array(splits.test_images(dataset, cache=cache).pixels)
    for entry in cache.glob("*.npy"):
        damage(entry)
    with caplog.at_level(logging.WARNING):
        found = splits.test_images(dataset, cache=cache)
    assert np.array_equal(found.pixels, expected)
    assert "are damaged" in caplog.text
    caplog.clear()
    splits.test_images(dataset, cache=cache)
    assert not caplog.text


def test_an_interrupted_write_leaves_no_entry(dataset: Dataset, cache: Path) -> None:
    splits.training_data(dataset, cache=cache)
    for record in cache.glob("*.json"):
        record.unlink()  # as if the process had died between its two files
    assert len(splits.training_data(dataset, cache=cache).train) == 6
    assert {path.suffix for path in cache.iterdir()} == {".npy", ".json", ".sqlite"}


def test_writers_at_the_same_time_do_not_disturb_each_other(dataset: Dataset, cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: splits.training_data(dataset, cache=cache), range(8)))
    assert len({images.train.hashes for images in found}) == 1
    assert all(np.array_equal(images.train.pixels, found[0].train.pixels) for images in found)
    assert (
        len([path for path in cache.iterdir() if path.suffix != ".sqlite"]) == 2 * 3 + 1
    )  # that: what is nearly equal


def test_pixels_stay_readable_when_their_entry_is_replaced(dataset: Dataset, cache: Path) -> None:
    images = splits.training_data(dataset, cache=cache).train
    shutil.rmtree(cache)
    assert pixel_hash(images.pixels[0]) == images.hashes[0]


def test_the_cache_lies_where_the_environment_says(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "elsewhere"))
    splits.training_data(dataset)
    assert len(list((tmp_path / "elsewhere").glob("*.npy"))) == 3
    monkeypatch.delenv("ASSAY_CACHE")
    assert file_facts.default_folder() == Path.home() / ".cache" / "assay"


def test_a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write the image cache .*set ASSAY_CACHE to another folder"):
        splits.training_data(dataset, cache=tmp_path / "file" / "cache")


# Pseudo-anomalies for validation


def test_half_of_the_validation_normals_become_pseudo_anomalies(dataset: Dataset, cache: Path) -> None:
    found = splits.training_data(pseudo(dataset), cache=cache)
    assert found.validation.labels.tolist() == [0, 0, 1, 1]
    assert found.validation.defects == ("normal", "normal", "pseudo:cutpaste", "pseudo:cutpaste")
    kept, made = found.validation.ids[:2], found.validation.ids[2:]
    assert all(id_.endswith("#cutpaste") for id_ in made)
    sources = {id_.removesuffix("#cutpaste") for id_ in made}
    assert sources | set(kept) == {f"validation-0-{index}" for index in range(4)}
    assert not sources & set(kept)
    for row, id_, hash_ in zip(found.validation.pixels, found.validation.ids, found.validation.hashes, strict=True):
        path = next(s.path for s in dataset.samples if s.id == id_.removesuffix("#cutpaste"))
        assert np.array_equal(row, decode(path, size=SIZE, channels=1)) == ("#" not in id_)
        assert pixel_hash(row) == hash_
    assert found.description["counts"]["validation"] == {"normal": 2, "anomalous": 2}
    assert found.description["validation_anomalies"] == "pseudo"


def test_pseudo_anomalies_are_the_same_every_time_and_leave_torchs_generator_alone(
    dataset: Dataset, cache: Path
) -> None:
    before = torch.random.get_rng_state()
    first, second = (splits.training_data(pseudo(dataset), cache=cache).validation for _ in range(2))
    assert first.hashes == second.hashes
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_belongs_together_is_not_on_both_sides(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "validation-0-0", "validation-0-3")
    spoiled = changed(changed(pseudo(dataset), "validation-0-1", group="g"), "validation-0-2", group="g")
    validation = splits.training_data(spoiled, cache=cache).validation
    sides = {id_.removesuffix("#cutpaste"): "#" in id_ for id_ in validation.ids}
    assert sides["validation-0-0"] == sides["validation-0-3"] != sides["validation-0-1"] == sides["validation-0-2"]


# The hash


def test_the_hash_ignores_where_the_files_lie_and_the_order_of_samples(
    dataset: Dataset, cache: Path, tmp_path: Path
) -> None:
    expected = splits.dataset_hash(dataset, cache=cache)
    moved = shutil.copytree(tmp_path / "images", tmp_path / "moved")
    samples = tuple(replace(sample, path=moved / sample.path.name) for sample in reversed(dataset.samples))
    assert splits.dataset_hash(replace(dataset, samples=samples), cache=tmp_path / "other") == expected


def test_the_hash_depends_on_pixels_labels_splits_and_size(dataset: Dataset, cache: Path) -> None:
    variants = [
        dataset,
        replace(dataset, image_size=20),
        replace(dataset, channels=3),
        changed(dataset, "test-1-0", label=0, defect="normal"),
        changed(dataset, "test-0-0", split="validation"),
        replace(dataset, samples=dataset.samples[1:]),
    ]
    hashes = [splits.dataset_hash(variant, cache=cache) for variant in variants]
    assert len(set(hashes)) == len(variants)
    picture(dataset.samples[0].path, 999)
    assert splits.dataset_hash(dataset, cache=cache) not in hashes


def test_a_folder_at_two_places_is_the_same_dataset(tmp_path: Path, cache: Path) -> None:
    def build(root: Path) -> Dataset:
        for index in range(10):
            picture(root / f"good/{index}.png", index)
        for index in range(6):
            picture(root / f"bad/{index}.png", 100 + index)
        return folder(root=str(root), normal="good", anomalous="bad", image_size=SIZE, channels=1)

    here, there = (splits.training_data(build(tmp_path / name / "cells"), cache=cache) for name in ("here", "there"))
    assert here.description == there.description
