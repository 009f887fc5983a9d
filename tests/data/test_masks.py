"""Masks: the same defect is marked however the mask was stored, and what can't be right is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.contracts import Sample
from assay.data import masks
from assay.errors import DataError

SIDE = 24
BOX = (slice(4, 10), slice(6, 18))
"""Where the defect is: rows and columns."""


def grey(value: int, background: int = 0, dtype: type = np.uint8) -> Image.Image:
    pixels = np.full((SIDE, SIDE), background, dtype)
    pixels[BOX] = value
    return Image.fromarray(pixels)


def palette() -> Image.Image:
    image = grey(1).copy()
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


def red() -> Image.Image:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[BOX] = (255, 0, 0)
    return Image.fromarray(pixels)


def alpha() -> Image.Image:
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[BOX] = (0, 0, 0, 255)
    return Image.fromarray(pixels)


STORED: dict[str, Callable[[], Image.Image]] = {
    "as published": lambda: grey(255),
    "of one bit": lambda: grey(255).convert("1"),
    "0 and 1": lambda: grey(1),
    "a class number": lambda: grey(3),
    "dim": lambda: grey(100),
    "16 bits that hold 8": lambda: grey(255, dtype=np.uint16),
    "16 bits": lambda: grey(65535, dtype=np.uint16),
    "a palette": palette,
    "a colour": red,
    "opacity": alpha,
}


def sample(tmp_path: Path, mask: Image.Image, name: str = "a", size: tuple[int, int] = (SIDE, SIDE)) -> Sample:
    image, marked = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
    Image.new("L", size, 90).save(image)
    mask.save(marked)
    return Sample(name, image, 1, "test", "dent", masks=(marked,))


@pytest.mark.parametrize("stored", STORED)
def test_the_same_defect_is_marked_however_the_mask_was_stored(tmp_path: Path, stored: str) -> None:
    one = sample(tmp_path, STORED[stored]())
    found = masks.examined([one])
    expected = np.zeros((SIDE, SIDE), bool)
    expected[BOX] = True
    assert np.array_equal(masks.mask(one, (SIDE, SIDE), found.above), expected)
    assert (found.above == 0) == bool(found.notices)


def test_one_threshold_for_all_masks_so_that_a_soft_one_stays_empty(tmp_path: Path) -> None:
    every = [sample(tmp_path, grey(255), "a"), sample(tmp_path, grey(127), "b")]
    found = masks.examined(every)
    assert (found.above, found.empty, found.notices) == (127, 1, ("1 masks mark nothing: b",))
    assert masks.examined(every, above=100).empty == 0


def test_masks_that_mark_nothing_or_nearly_everything_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 masks marks anything: the largest value is 0"):
        masks.examined([sample(tmp_path, grey(0))])
    inverted = [sample(tmp_path, grey(0, 255), name) for name in "abcdefg"]
    with pytest.raises(DataError, match="7 of 7 masks mark more than half of their image: a, b, c, d, e and 2 more"):
        masks.examined(inverted)
    assert masks.examined(inverted, large_defects=True).above == 127


def test_a_mask_is_thresholded_before_it_shrinks_and_several_are_united(tmp_path: Path) -> None:
    soft = np.zeros((64, 64), np.uint8)
    soft[:32], soft[40, 8] = 127, 128  # a defect of one pixel
    one = sample(tmp_path, Image.fromarray(soft), size=(64, 64))
    other = tmp_path / "other.png"
    Image.fromarray(soft.T.copy()).save(other)
    both = Sample("a", one.path, 1, "test", "dent", masks=(*one.masks, other))
    assert np.argwhere(masks.mask(one, (8, 8), 127)).tolist() == [[5, 1]]
    assert np.argwhere(masks.mask(both, (8, 8), 127)).tolist() == [[1, 5], [5, 1]]


def turned_image(path: Path, orientation: int, size: tuple[int, int]) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", size, 90).save(path, exif=exif)
    return path


def test_a_mask_drawn_on_the_stored_pixels_turns_with_its_image(tmp_path: Path) -> None:
    image = turned_image(tmp_path / "a.jpg", 6, (48, 32))
    lying = np.zeros((32, 48), np.uint8)
    lying[0, 0] = 255  # at the top left as stored, at the top right as shown
    (tmp_path / "lying.png").write_bytes(b"")
    Image.fromarray(lying).save(tmp_path / "lying.png")
    upright = np.zeros((48, 32), np.uint8)
    upright[0, 31] = 255
    Image.fromarray(upright).save(tmp_path / "upright.png")
    for name in ("lying", "upright"):
        one = Sample("a", image, 1, "test", "dent", masks=(tmp_path / f"{name}.png",))
        assert np.argwhere(masks.mask(one, (48, 32), 127)).tolist() == [[0, 31]], name


@pytest.mark.parametrize(("orientation", "size"), [(6, (32, 32)), (3, (48, 32))])
def test_a_mask_that_may_be_turned_or_not_is_an_error(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    image = turned_image(tmp_path / "a.jpg", orientation, size)
    Image.new("L", size, 255).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=f"turned by its EXIF tag .orientation {orientation}. and its mask mask.png is"):
        masks.examined([Sample("a", image, 1, "test", "dent", masks=(tmp_path / "mask.png",))])


def test_a_mask_may_be_larger_or_smaller_but_not_of_another_shape(tmp_path: Path) -> None:
    half = grey(255).resize((SIDE // 2, SIDE // 2))
    assert masks.mask(sample(tmp_path, half), (SIDE, SIDE), 127)[BOX].all()
    with pytest.raises(DataError, match=r"the mask has 24 x 24 pixels, its image a\.png 48 x 24"):
        masks.examined([sample(tmp_path, grey(255), size=(48, 24))])


def test_masks_are_found_by_name_and_never_by_order(tmp_path: Path) -> None:
    (tmp_path / "003").mkdir()
    for name in ("001_mask.png", "002.bmp", "003/000.png", "003/001.png", "009_mask.png"):
        grey(255).save(tmp_path / name)
    found = masks.by_name(tmp_path, ["000", "001", "002", "003"])
    assert {stem: [path.name for path in paths] for stem, paths in found.items()} == {
        "001": ["001_mask.png"],
        "002": ["002.bmp"],
        "003": ["000.png", "001.png"],
    }
    grey(255).save(tmp_path / "001.png")
    with pytest.raises(DataError, match=r"001_mask.png, 001.png could all be the mask of 001"):
        masks.by_name(tmp_path, ["001"])
    assert masks.by_name(tmp_path / "nowhere", ["001"]) == {}
