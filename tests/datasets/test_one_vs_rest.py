"""One class against all others: IDX files as they are shipped, damaged ones, folders of classes, and pickles."""

from __future__ import annotations

import gzip
import os
import pickle
from collections import Counter
from pathlib import Path

import layouts
import numpy as np
import pytest
from layouts import idx, picture

from assay.contracts import Dataset
from assay.data.images import decode
from assay.datasets.one_vs_rest import one_vs_rest
from assay.errors import DataError

SHARED = Path(os.environ.get("ASSAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def found(dataset: Dataset) -> Counter[tuple[str, str]]:
    return Counter((sample.split, sample.defect) for sample in dataset.samples)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_keep_their_split_and_their_pixels(tmp_path: Path, packed: bool) -> None:
    root = layouts.mnist(tmp_path / "digits", packed=packed)
    dataset = one_vs_rest(root=str(root), normal=2)
    assert found(dataset) == {
        ("train", "normal"): 16,
        ("validation", "normal"): 4,
        ("test", "normal"): 10,
        ("validation", "0"): 3,
        ("test", "0"): 7,
        ("validation", "1"): 3,
        ("test", "1"): 7,
    }
    assert dataset.notes["train_images_of_other_classes"] == 40
    assert dataset.name == "digits-2"
    pixels = {"train": np.random.default_rng(0).integers(0, 256, (60, 28, 28))}
    pixels["test"] = np.random.default_rng(1).integers(0, 256, (30, 28, 28))
    for sample in dataset.samples:
        half, _, number = sample.id.split("/")
        assert np.array_equal(decode(sample.path, size=28, channels=1)[0], pixels[half][int(number)])


def test_images_are_unpacked_once_and_only_those_that_are_asked_for(tmp_path: Path, cache: Path) -> None:
    root = layouts.mnist(tmp_path / "digits")
    few = one_vs_rest(root=str(root), normal=[0, "1"], per_class=4)
    assert max(found(few).values()) <= 8
    assert len(list(cache.rglob("unpacked/*/*.png"))) == 24
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("unpacked/*/*.png")}
    one_vs_rest(root=str(root), normal=0)
    assert len(list(cache.rglob("unpacked/*/*.png"))) == 90
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert not list(cache.rglob("*.part"))


def test_a_single_half_is_split_by_seed_and_told(tmp_path: Path) -> None:
    root = layouts.mnist(tmp_path / "digits", test=60)
    for file in root.glob("train*"):
        file.unlink()
    dataset = one_vs_rest(root=str(root), normal=0)
    assert found(dataset)["train", "normal"] == 12
    assert dataset.notices == ("there are not two halves, train and test: the images are split by seed",)


@pytest.mark.parametrize("packed", [False, True])
def test_files_cut_short_are_errors_that_name_them(tmp_path: Path, packed: bool) -> None:
    root = layouts.mnist(tmp_path, packed=packed)
    [images] = root.glob("t10k-images*")
    images.write_bytes(images.read_bytes()[: images.stat().st_size // 2])
    with pytest.raises(DataError, match=r"t10k-images.*(cut short: fetch|claims 23520 bytes and it holds only)"):
        one_vs_rest(root=str(root), normal=0)


def test_files_that_contradict_themselves_are_errors(tmp_path: Path) -> None:
    root = layouts.mnist(tmp_path, packed=False)
    labels, images = root / "train-labels-idx1-ubyte", root / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="claims 47040 bytes and it holds more"):
        one_vs_rest(root=str(root), normal=0)
    images.write_bytes(whole[:3] + b"\1" + whole[4:])
    with pytest.raises(DataError, match=r"not an IDX file of unsigned bytes with 3 axes \(it begins with 00000801\)"):
        one_vs_rest(root=str(root), normal=0)
    images.write_bytes(gzip.compress(whole[:4] + b"\xff" * 12))
    with pytest.raises(DataError, match=r"its header claims \d+ bytes, more than 4294967296; is it damaged"):
        one_vs_rest(root=str(root), normal=0)
    images.write_bytes(whole)
    idx(labels, np.zeros(59))
    with pytest.raises(DataError, match="holds 60 images and train-labels-idx1-ubyte 59 labels"):
        one_vs_rest(root=str(root), normal=0)
    labels.unlink()
    with pytest.raises(DataError, match=r"no train-labels-idx1-ubyte or train-labels"):
        one_vs_rest(root=str(root), normal=0)


def test_folders_of_classes_with_and_without_halves(tmp_path: Path) -> None:
    for half, count in (("train", 10), ("test", 6)):
        for place, name in enumerate(("cat", "dog", "ship")):
            for at in range(count):
                picture(tmp_path / f"{half}/{name}/{at}.png", 100 * count + 10 * place + at)
    dataset = one_vs_rest(root=str(tmp_path), normal="dog")
    assert found(dataset)["train", "normal"] == 8
    assert found(dataset)["test", "cat"] == found(dataset)["test", "ship"] == 4
    assert found(one_vs_rest(root=str(tmp_path / "train"), normal=["dog"]))["train", "normal"] == 6
    with pytest.raises(DataError, match=r"no class horse; there are: cat, dog, ship"):
        one_vs_rest(root=str(tmp_path), normal="horse")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps(Bomb()))
    for root in (tmp_path, tmp_path / "cifar-10-batches-py"):
        with pytest.raises(DataError, match=r"are pickles, which can run any code and are never loaded; save"):
            one_vs_rest(root=str(root), normal="cat")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(DataError, match="no such folder"):
        one_vs_rest(root=str(tmp_path / "nowhere"), normal="cat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no IDX files .* and no folders of classes"):
        one_vs_rest(root=str(tmp_path / "empty"), normal="cat")


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="no mnist below ASSAY_TEST_DATA")
def test_real_digits_are_read() -> None:
    dataset = one_vs_rest(root=str(SHARED / "mnist"), normal=7, per_class=60)
    assert sum(found(dataset).values()) == 600
    assert found(dataset)["train", "normal"] == 36
    assert set(Counter(sample.defect for sample in dataset.samples)) == {"normal", *"012345689"}
