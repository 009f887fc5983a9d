"""Folders as people leave them: every oddity has one answer, an error where a figure would be wrong, else a notice."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.data import splits
from assay.datasets._parts import Placed, parts
from assay.datasets.folder import folder
from assay.datasets.mvtec import mvtec
from assay.errors import DataError


def picture(path: Path, seed: int, largest: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype = np.uint8 if largest < 256 else np.uint16
    Image.fromarray(np.random.default_rng(seed).integers(0, largest + 1, (20, 20)).astype(dtype)).save(path)
    return path


def layout(root: Path, kinds: tuple[str, ...] = ("dent",), normal: str = "good", largest: int = 255) -> Path:
    for number in range(12):
        picture(root / f"train/{normal}/{number:03}.png", number, largest)
    for place, kind in enumerate((normal, *kinds)):
        for number in range(4):
            picture(root / f"test/{kind}/{number:03}.png", 100 * (place + 1) + number, largest)
    return root


@pytest.mark.parametrize("name", ["ok", "OK", "normal", "Good"])
def test_a_folder_called_like_normals_is_asked_about(tmp_path: Path, name: str) -> None:
    root = str(layout(tmp_path, ("dent", name)))
    with pytest.raises(DataError, match=rf"{name} is called like a folder of normals.*set `normal: \[good, {name}\]`"):
        mvtec(root=root)
    both = mvtec(root=root, normal=["good", name])
    assert Counter(sample.defect for sample in both.samples if sample.split == "test")["normal"] == 8
    if name != "normal":
        assert {sample.defect for sample in mvtec(root=root, normal="good").samples} == {"normal", "dent", name}


def test_normals_may_have_another_name_throughout(tmp_path: Path) -> None:
    dataset = mvtec(root=str(layout(tmp_path, ("ko",), "ok")))
    assert Counter(sample.label for sample in dataset.samples) == {0: 16, 1: 4}
    with pytest.raises(DataError, match=r"no folder good; it holds ok"):
        mvtec(root=str(tmp_path), normal="good")
    picture(tmp_path / "train/more/000.png", 7)
    with pytest.raises(DataError, match="it holds more, ok; say which are normals with `normal`"):
        mvtec(root=str(tmp_path))


@pytest.mark.parametrize("kind", ["all", "worst_kind", "All"])
def test_a_kind_whose_name_stands_for_something_else_is_refused_first(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=rf"a kind of defect is called '{kind}' \(4 images\).*rename its folder"):
        mvtec(root=str(layout(tmp_path, ("dent", kind))))


def test_links_to_nothing_and_odd_names_are_errors_that_name_them(tmp_path: Path) -> None:
    root = layout(tmp_path)
    (root / "test/dent/gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "test/dent/self.png").symlink_to(root / "test/dent/self.png")
    with pytest.raises(DataError, match=r"2 images are links to a file that is not there: gone\.png, self\.png; fetch"):
        mvtec(root=str(root))
    (root / "test/dent/gone.png").unlink()
    (root / "test/dent/self.png").unlink()
    (root / "test" / os.fsdecode(b"gro\xdf")).mkdir()
    with pytest.raises(DataError, match=r"1 names are not UTF-8: 'gro\\udcdf'; rename them"):
        mvtec(root=str(root))


def test_images_in_sub_folders_are_an_error_and_an_empty_kind_is_a_notice(tmp_path: Path) -> None:
    root = layout(tmp_path)
    (root / "test/scratch").mkdir()
    assert mvtec(root=str(root)).notices == (f"{root / 'test/scratch'} is empty and left out",)
    picture(root / "test/dent/more/009.png", 9)
    with pytest.raises(DataError, match="images lie in its sub-folders more; move them up"):
        mvtec(root=str(root))


@pytest.mark.parametrize(("largest", "bits"), [(1023, 10), (4095, 12)])
def test_values_of_a_camera_are_scaled_by_the_bits_it_has(tmp_path: Path, largest: int, bits: int) -> None:
    root = str(layout(tmp_path / "data", largest=largest))
    with pytest.raises(DataError, match=rf"the largest value .* which {bits} bits hold. Set `bit_depth: {bits}`"):
        splits.training_data(mvtec(root=root), cache=tmp_path / "cache")
    known = splits.training_data(mvtec(root=root, bit_depth=bits), cache=tmp_path / "cache")
    assert known.train.pixels.max() > 240
    dark = splits.training_data(mvtec(root=root, bit_depth=16), cache=tmp_path / "cache")
    assert dark.train.pixels.max() <= 16
    with pytest.raises(DataError, match=rf"it holds \d+, more than {bits - 1} bits can"):
        splits.training_data(mvtec(root=root, bit_depth=bits - 1), cache=tmp_path / "cache")


def test_where_every_group_holds_a_defect_groups_are_split_and_defects_to_train_on_set_aside(tmp_path: Path) -> None:
    for item in range(20):
        for part in range(5):
            picture(tmp_path / ("bad" if part == 0 else "good") / f"item{item:02}_{part}.png", 10 * item + part)
    dataset = folder(root=str(tmp_path), normal="good", anomalous="bad", group_pattern=r"^(item\d+)_")
    of_group: dict[str | None, set[str]] = {}
    for sample in dataset.samples:
        of_group.setdefault(sample.group, set()).add(sample.split)
    assert all(len(of) == 1 for of in of_group.values())
    found = Counter((sample.split, sample.label) for sample in dataset.samples)
    assert found["train", 0] == 48
    assert found["train", 1] == 0
    assert dataset.notes["anomalies_set_aside"] == 12
    assert dataset.notices[0].startswith("12 anomalies among the images to train on are set aside: bad/item")
    assert found["validation", 1] > 0
    assert found["test", 1] > 0


def test_normals_for_the_test_may_be_taken_from_those_to_train_on(tmp_path: Path) -> None:
    root = layout(tmp_path)
    for file in (root / "test/good").iterdir():
        file.unlink()
    dataset = mvtec(root=str(root), test_fraction=0.25)
    assert Counter((sample.split, sample.label) for sample in dataset.samples)["test", 0] == 3


def test_published_validation_normals_leave_all_others_to_train_on() -> None:
    images = [Placed(f"t{n}", 0, "normal", "train", "train") for n in range(8)]
    images += [Placed(f"v{n}", 0, "normal", "validation", "validation") for n in range(2)]
    images += [Placed("bad", 1, "dent", "train", "train bad")]
    chosen = parts(images, lambda one, count: {"train": 1.0, "validation": 0.0, "test": 0.0}, 0, None)
    assert chosen == [*["train"] * 8, *["validation"] * 2, None]


def marked(root: Path, value: int = 255) -> Path:
    """A mask of every defect of a layout, half of the image."""
    for path in (root / "test").glob("[!g]*/*.png"):
        mask = root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        drawn = np.zeros((20, 20), np.uint8)
        drawn[:5] = value
        Image.fromarray(drawn).save(mask)
    return root


def test_folders_called_like_images_and_images_in_no_kind_are_refused(tmp_path: Path) -> None:
    (layout(tmp_path / "a") / "train/good/x.png").mkdir()
    with pytest.raises(DataError, match=r"1 folders are called like images: x\.png; rename them"):
        mvtec(root=str(tmp_path / "a"))
    picture(layout(tmp_path / "b") / "test/loose.png", 7)
    with pytest.raises(DataError, match=r"test: 1 images lie in no folder of a kind: loose\.png"):
        mvtec(root=str(tmp_path / "b"))


def test_folders_that_systems_make_are_no_kinds(tmp_path: Path) -> None:
    for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        picture(layout(tmp_path) / "test" / name / "000.png", 7)
    dataset = mvtec(root=str(tmp_path))
    assert {sample.defect for sample in dataset.samples} == {"normal", "dent"}


def test_masks_of_no_image_and_anomalies_without_one_are_told(tmp_path: Path) -> None:
    root = marked(layout(tmp_path))
    masks = root / "ground_truth/dent"
    (masks / "000_mask.png").rename(masks / "000_gt.png")
    assert mvtec(root=str(root)).notices == (
        "1 files in ground_truth are the mask of no image: dent/000_gt.png",
        "1 anomalies have no mask, and count in no figure of places: test/dent/000.png",
    )


def test_masks_that_say_little_are_told(tmp_path: Path) -> None:
    root = marked(layout(tmp_path))
    masks = root / "ground_truth/dent"
    for name, drawn in (("000", np.zeros((20, 20))), ("001", np.full((20, 20), 255)), ("002", np.eye(10) * 255)):
        Image.fromarray(drawn.astype(np.uint8)).save(masks / f"{name}_mask.png")
    assert mvtec(root=str(root)).notices == (
        "1 masks mark nothing: test/dent/000.png",
        "1 masks mark nearly all of their image: test/dent/001.png",
        "1 masks have another size than their image, and are scaled to it: test/dent/002.png",
    )


def test_images_that_are_converted_turned_or_cut_are_told(tmp_path: Path) -> None:
    root = layout(tmp_path)
    random, tag = np.random.default_rng(0), Image.Exif()
    tag[0x0112] = 6
    four = Image.fromarray(random.integers(0, 256, (20, 20, 4), dtype=np.uint8), "CMYK")
    four.save(root / "train/good/a.jpg")
    four.convert("RGB").save(root / "train/good/b.jpg", exif=tag)
    Image.fromarray(random.integers(0, 256, (20, 20, 4), dtype=np.uint8), "RGBA").save(root / "train/good/c.png")
    more = Image.fromarray(random.integers(0, 256, (20, 20), dtype=np.uint8))
    more.save(root / "train/good/d.tif", save_all=True, append_images=[more.rotate(90)])
    Image.fromarray(random.integers(0, 256, (1, 20), dtype=np.uint8)).save(root / "train/good/e.png")
    for _ in range(2):  # decoded, then from the cache
        told = splits.training_data(mvtec(root=str(root), image_size=16), cache=tmp_path / "cache").description
        assert told["notices"] == [
            "1 image is CMYK, and is converted to RGB: train/good/a.jpg",
            "1 image is a single row or column of pixels: train/good/e.png",
            "1 image is transparent, and is laid on black: train/good/c.png",
            "1 image is turned as their EXIF tag says: train/good/b.jpg",
            "1 image holds several frames, of which the first is read: train/good/d.tif",
        ]


def colours_of_16_bits(path: Path, pixels: np.ndarray) -> None:
    """A PNG of 16 bits a colour, which Pillow reads and does not write; pixels: (H, W, 3) 16-bit numbers."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("largest", "bits"), [(1023, 10), (4095, 12), (65535, 16)])
def test_colours_of_16_bits_are_told_and_refused_where_fewer_bits_are_used(
    tmp_path: Path, largest: int, bits: int
) -> None:
    """Pillow reads the upper 8 bits alone: of a camera's 10, two are left."""
    root = layout(tmp_path / "images")
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        random = np.random.default_rng(number)
        colours_of_16_bits(file, random.integers(0, largest + 1, (20, 20, 3), dtype=np.uint16))
    cache = tmp_path / "cache"
    if bits == 16:
        [notice] = splits.training_data(mvtec(root=str(root)), cache=cache).description["notices"]
        assert notice.startswith("20 images have 16 bits a colour, of which the upper 8 are read: ")
        return
    with pytest.raises(DataError, match=f"the largest value of all 16-bit images is {largest}, which {bits} bits hold"):
        splits.training_data(mvtec(root=str(root)), cache=cache)
    with pytest.raises(DataError, match=f"of its 16 bits a colour only the upper 8 are read, so {bits} bits can't"):
        splits.training_data(mvtec(root=str(root), bit_depth=bits), cache=cache)


def test_masks_that_are_links_to_nothing_or_have_odd_names_are_errors(tmp_path: Path) -> None:
    root = marked(layout(tmp_path))
    drawn = root / "ground_truth/dent/000_mask.png"
    drawn.unlink()
    drawn.symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"000_mask\.png: no such file; it is a link to nowhere\.png"):
        mvtec(root=str(root))
    drawn.unlink()
    drawn.symlink_to(drawn)
    with pytest.raises(DataError, match=r"000_mask\.png: cannot be decoded .*symbolic links"):
        mvtec(root=str(root))
    drawn.unlink()
    odd = root / "ground_truth/dent" / os.fsdecode(b"gro\xdf_mask.png")
    (root / "ground_truth/dent/001_mask.png").rename(odd)
    with pytest.raises(DataError, match=r"1 names are not UTF-8: 'gro\\udcdf_mask.png'; rename them"):
        mvtec(root=str(root))
    odd.unlink()
    picture(root / "ground_truth" / os.fsdecode(b"gr\xfcn") / "000_mask.png", 6)
    with pytest.raises(DataError, match=r"2 names are not UTF-8: 'gr\\udcfcn'"):
        mvtec(root=str(root))


def test_a_mask_that_could_be_of_two_images_is_an_error(tmp_path: Path) -> None:
    root = marked(layout(tmp_path))
    picture(root / "test/dent/002.bmp", 999)
    with pytest.raises(DataError, match=r"the masks of 002 could each be of two images"):
        mvtec(root=str(root))
    (root / "ground_truth/dent/002_mask.png").unlink()
    assert len([sample for sample in mvtec(root=str(root)).samples if sample.label]) == 5


def test_all_files_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    root = layout(tmp_path)
    for file in (root / "train/good").iterdir():
        file.write_bytes(file.name.encode())
    dataset = mvtec(root=str(root))
    train = [sample.path.name for sample in dataset.samples if sample.split == "train"]
    told = rf"10 images cannot be read: {', '.join(train[:5])} and 5 more\. The first: "
    with pytest.raises(DataError, match=told):
        splits.training_data(dataset, cache=tmp_path / "cache")
