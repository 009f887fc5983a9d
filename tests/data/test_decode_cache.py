"""Every file is decoded once, for the split and for training, and copied between entries afterwards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.contracts import Dataset, Images
from assay.data import decode_cache, near_duplicates, splits
from assay.data.decode_cache import How
from assay.data.images import decode
from assay.datasets.folder import folder

HOW = How((16, 16), 1)


def picture(seed: int, mode: str = "L") -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)
    return Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """20 normals and 8 anomalies in plain folders."""
    for name, count in (("good", 20), ("bad", 8)):
        for number in range(count):
            file = tmp_path / "images" / name / f"{number:02}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(100 * len(name) + number).save(file)
    return tmp_path / "images"


def read(root: Path, **values: object) -> Dataset:
    return folder(root=str(root), normal="good", anomalous="bad", image_size=16, channels=1, **values)


def as_decoded(root: Path, images: Images) -> None:
    """Raise AssertionError unless the pixels are those of a decoding of their own."""
    for id_, pixels in zip(images.ids, images.pixels, strict=True):
        assert np.array_equal(pixels, decode(root / id_, size=16, channels=1))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened as an image."""
    counts: Counter[str] = Counter()
    really = Image.open

    def counting(file: Path, **values: object) -> Image.Image:
        counts[str(file)] += 1
        return really(file, **values)

    monkeypatch.setattr(Image, "open", counting)
    return counts


def test_the_split_and_the_training_share_one_decoding(root: Path, cache: Path, opened: Counter[str]) -> None:
    first = splits.training_data(read(root))
    assert len(opened) == 28
    assert set(opened.values()) == {1}
    other = splits.training_data(read(root, split_seed=1))  # other splits of the same images
    assert other.train.ids != first.train.ids
    splits.training_data(read(root))
    assert set(opened.values()) == {1}
    as_decoded(root, other.train)
    assert not list(cache.glob("pool-*")), "what the splits have is not kept twice"


def test_an_image_that_is_added_is_decoded_alone(root: Path, cache: Path, opened: Counter[str]) -> None:
    splits.training_data(read(root))
    opened.clear()
    picture(999).save(root / "good" / "new.jpg")
    splits.training_data(read(root))
    assert list(opened) == [str(root / "good" / "new.jpg")]


def test_repeats_are_dropped_without_another_decoding(root: Path, cache: Path, opened: Counter[str]) -> None:
    (root / "good" / "again.jpg").write_bytes((root / "good" / "00.jpg").read_bytes())
    found = splits.training_data(read(root, duplicates="drop"))
    assert "left out" in found.description["notices"][0]
    assert set(opened.values()) == {1}


def test_a_damaged_pool_or_entry_is_decoded_again(root: Path, cache: Path) -> None:
    dataset = read(root)
    [pool] = cache.glob("pool-*.npy")
    pool.write_bytes(pool.read_bytes()[:-300] + bytes(300))
    as_decoded(root, splits.training_data(dataset).train)
    for entry in cache.glob("*.npy"):  # replaced, not overwritten: they may still be mapped
        entry.unlink()
        entry.write_bytes(b"")
    as_decoded(root, splits.training_data(read(root, split_seed=1)).train)


def test_a_picture_is_the_same_in_every_format_and_others_that_shrink_alike_are_not(
    tmp_path: Path, cache: Path
) -> None:
    fine = np.zeros((64, 64), np.uint8)
    fine[::2] = 2  # at 16 x 16 both are grey 1
    files = {}
    for name, image in {
        "a.png": picture(1),
        "a.bmp": picture(1, "RGB"),
        "b.png": picture(2),
        "fine.png": Image.fromarray(fine),
        "flat.png": Image.fromarray(np.ones((64, 64), np.uint8)),
    }.items():
        files[name] = tmp_path / name
        image.save(files[name])
    pixels = decode_cache.decoded([list(files.values())], HOW, cache)[0]
    assert pixels.hashes[3] == pixels.hashes[4]
    assert pixels.pictures[0] == pixels.pictures[1]
    assert len(set(pixels.pictures)) == 4
    assert decode_cache.pictures(list(files.values()), HOW, cache) == pixels.pictures


def test_repeats_are_found_between_lists(tmp_path: Path, cache: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(1).save(tmp_path / "a.bmp")
    one, other = decode_cache.decoded([[tmp_path / "a.png"], [tmp_path / "a.bmp"]], HOW, cache)
    assert one.pictures == other.pictures


def test_jpegs_are_decoded_whole(tmp_path: Path, cache: Path) -> None:
    """A reduced decoding would give other pixels, and other hashes than those in stored models."""
    file = tmp_path / "large.jpg"
    picture(1, "RGB").resize((800, 600)).save(file)
    [found] = decode_cache.decoded([[file]], How((16, 16), 3), cache)
    with Image.open(file) as image:
        image.load()
        whole = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(found.pixels[0], whole)


def test_what_is_nearly_the_same_is_looked_for_once(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        image = Image.open(root / "good" / f"{number:02}.jpg")
        image.save(root / "bad" / f"{number:02}.jpg", quality=60)
    first = splits.training_data(read(root)).description["notices"]
    assert any("nearly the same" in notice for notice in first)

    def fail(pixels: np.ndarray) -> np.ndarray:
        raise AssertionError("looked again")

    really = near_duplicates.thumbnails
    monkeypatch.setattr(near_duplicates, "thumbnails", fail)
    assert splits.training_data(read(root)).description["notices"] == first
    with pytest.raises(AssertionError, match="looked again"):
        splits.training_data(read(root, split_seed=1))
    monkeypatch.setattr(near_duplicates, "thumbnails", really)
    for file in cache.glob("near-*.json"):
        file.write_text("[[3, 1]]")  # the larger first: this code never wrote it
    assert splits.training_data(read(root)).description["notices"] == first
