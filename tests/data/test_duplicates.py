"""Images that are there twice, exactly or nearly: what is refused, dropped, grouped and told."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.contracts import Dataset, Sample, Split
from assay.data import near_duplicates, splits
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.errors import DataError

COUNTS: tuple[tuple[Split, int, int], ...] = (
    ("train", 0, 8),
    ("validation", 0, 4),
    ("validation", 1, 4),
    ("test", 0, 4),
    ("test", 1, 4),
)


def scene(seed: int) -> Image.Image:
    """A smooth picture with structure of its own, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    samples = []
    for split, label, count in COUNTS:
        for number in range(count):
            path = tmp_path / "images" / f"{split}-{label}-{number}.png"
            path.parent.mkdir(exist_ok=True)
            scene(len(samples)).save(path)
            samples.append(Sample(path.stem, path, label, split, "scratch" if label else "normal"))
    return Dataset("cells", tuple(samples), 48, 1, "labelled")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def copied(dataset: Dataset, source: str, *targets: str) -> None:
    paths = {sample.id: sample.path for sample in dataset.samples}
    for target in targets:
        paths[target].write_bytes(paths[source].read_bytes())


def test_drop_keeps_one_of_each_and_the_test_split_whole(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "train-0-0", "train-0-1", "test-0-2", "validation-0-0")
    copied(dataset, "train-0-3", "train-0-4")
    kept = replace(dataset, duplicates="drop")
    data = splits.training_data(kept, cache=cache)
    assert data.train.ids == ("train-0-2", "train-0-3", "train-0-5", "train-0-6", "train-0-7")
    assert "validation-0-0" not in data.validation.ids
    assert len(splits.test_images(kept, cache=cache)) == 8
    [notice] = data.description["notices"]
    assert notice.startswith("4 images that repeat another one are left out: train-0-0, train-0-1, train-0-4, valida")
    without = replace(dataset, samples=tuple(s for s in dataset.samples if s.id not in notice))
    assert data.description["hash"] == splits.dataset_hash(without, cache=cache)


def test_one_image_under_two_labels_is_refused_even_where_repeats_are_dropped(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "test-0-0", "test-1-0")
    with pytest.raises(DataError, match=r"under another label: test-0-0 \(normal\) = test-1-0 \(scratch\)") as caught:
        splits.test_images(replace(dataset, duplicates="drop"), cache=cache)
    assert "duplicates: drop" not in str(caught.value)
    assert len(splits.test_images(replace(dataset, duplicates="allow"), cache=cache)) == 8


def test_copies_in_one_split_count_once_in_every_interval(dataset: Dataset, cache: Path) -> None:
    copied(dataset, "test-0-0", "test-0-1", "test-0-2")
    images = splits.test_images(dataset, cache=cache)
    assert len(images) == 8
    assert len(set(images.parts)) == 6
    [notice] = splits.training_data(dataset, cache=cache).description["notices"]
    assert notice.startswith(
        "2 images repeat another one, which counts once in every interval: test-0-0 = test-0-1; test-0-0 = test-0-2"
    )
    assert not splits.test_images(replace(dataset, duplicates="allow"), cache=cache).group_names


def test_copies_join_the_groups_that_they_are_in(dataset: Dataset, cache: Path) -> None:
    names = {"test-0-0": "a", "test-0-1": "b", "test-0-2": "a", "test-0-3": "c"}
    grouped = replace(dataset, samples=tuple(replace(s, group=names.get(s.id)) for s in dataset.samples))
    copied(dataset, "test-0-0", "test-0-1")
    images = splits.test_images(grouped, cache=cache)
    assert dict(zip(images.ids, images.groups, strict=True)) | {"test-0-3": "c"} == {
        **dict.fromkeys(images.ids),
        **dict.fromkeys(["test-0-0", "test-0-1", "test-0-2"], "a"),
        "test-0-3": "c",
    }


def test_the_whole_list_is_in_a_file(dataset: Dataset, cache: Path) -> None:
    for number in range(7):
        copied(dataset, f"train-0-{number}", dataset.samples[8 + number].id)
    changed = replace(dataset, duplicates="drop", samples=tuple(replace(s, label=0) for s in dataset.samples))
    with pytest.raises(DataError, match="all are listed in") as caught:
        splits.training_data(replace(dataset, duplicates="refuse"), cache=cache)
    file = Path(str(caught.value).partition("listed in ")[2].partition(")")[0])
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert [(row["image"], row["image_2"]) for row in rows] == [
        (f"train-0-{number}", changed.samples[8 + number].id) for number in range(7)
    ]
    assert all(Path(row["file"]).exists() for row in rows)


@pytest.mark.parametrize("how", ["jpeg", "smaller", "brighter"])
def test_a_picture_that_is_nearly_another_one_is_told(dataset: Dataset, cache: Path, how: str) -> None:
    first, other = (next(s for s in dataset.samples if s.id == id_) for id_ in ("train-0-3", "test-0-1"))
    image = Image.open(first.path)
    if how == "jpeg":
        image.save(other.path, format="JPEG", quality=60)
    elif how == "smaller":
        image.resize((70, 70)).save(other.path)
    else:
        Image.fromarray((np.asarray(image) * 0.98 + 3).astype(np.uint8)).save(other.path)
    [notice] = splits.training_data(dataset, cache=cache).description["notices"]
    assert notice.startswith(
        "1 pair of images in two splits nearly the same: train-0-3 (train) ~ test-0-1 (test) (all are listed"
    )


def test_pictures_of_one_thing_are_not_nearly_the_same(dataset: Dataset, cache: Path) -> None:
    """The same part in the same place, with the noise of a camera and its own marks."""
    for number, sample in enumerate(dataset.samples):
        random = np.random.default_rng(number)
        part = np.asarray(scene(0)).astype(float) + random.normal(0, 8, (96, 96))
        row, column = random.integers(0, 70, 2)
        part[row : row + 20, column : column + 20] += 40
        Image.fromarray(part.clip(0, 255).astype(np.uint8)).save(sample.path)
    assert "notices" not in splits.training_data(dataset, cache=cache).description


def test_more_images_than_can_be_compared_are_told(
    dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "MOST", 20)
    assert splits.training_data(dataset, cache=cache).description["notices"] == [
        "images that are nearly the same are looked for among at most 20, not 24"
    ]


def test_thumbnails_are_means_of_cells_at_any_size() -> None:
    random = np.random.default_rng(0)
    for height, width in ((16, 17), (64, 51), (50, 200), (16, 16)):
        pixels = random.integers(0, 256, (3, 1, height, width), dtype=np.uint8)
        made = near_duplicates.thumbnails(pixels)
        assert made.shape == (3, 16, 17)
        last = pixels[:, 0, 15 * height // 16 :, 16 * width // 17 :].mean((1, 2))
        np.testing.assert_allclose(made[:, -1, -1], last, rtol=1e-5)


def test_it_is_a_key_of_every_dataset(tmp_path: Path) -> None:
    for name, count in (("good", 12), ("bad", 6)):
        for number in range(count):
            path = tmp_path / name / f"{number:02}.png"
            path.parent.mkdir(exist_ok=True)
            scene(number + 100 * (name == "bad")).save(path)
    words = {"root": str(tmp_path), "normal": "good", "anomalous": "bad", "image_size": 16}
    assert folder(**words).duplicates == "refuse"
    assert folder(**words, duplicates="drop").duplicates == "drop"
    assert folder(**words, allow_duplicates=True).duplicates == "allow", "as stores of before say it"
    assert mvtec.__annotations__["duplicates"]
