"""Decoding one image file: every kind of file has a defined answer."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.data.images import (
    FORMATS,
    content_hash,
    decode,
    file_hash,
    image_files,
    open_image,
    pixel_hash,
)
from assay.errors import DataError

SIDE = 32


def grey(value: int = 100, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    return Image.new("L", size, value)


def noise(seed: int = 0, size: tuple[int, int] = (40, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_uint8_of_the_size_and_channels_asked_for(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.new(mode, (50, 20))
    path = saved(tmp_path / "image.tiff" if mode == "CMYK" else tmp_path / "image.png", image)
    pixels = decode(path, size=SIDE, channels=channels)
    assert pixels.shape == (channels, SIDE, SIDE)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (200, 128), (100, 100, 100)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (200, 100, 0, 128), (100, 50, 0)),
        ("RGBA", (200, 100, 0, 0), (0, 0, 0)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
    ],
)
def test_colours_survive_and_alpha_is_composited_on_black(
    tmp_path: Path, mode: str, colour: object, expected: tuple[int, int, int]
) -> None:
    path = saved(tmp_path / "image.tiff", Image.new(mode, (8, 8), colour))
    assert decode(path, size=16, channels=3)[:, 5, 5] == pytest.approx(expected, abs=1)


def test_a_palette_is_looked_up_and_its_transparent_entry_is_black(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 250, 120, 10])
    assert decode(saved(tmp_path / "a.png", image), size=16, channels=3)[:, 0, 0].tolist() == [250, 120, 10]
    assert not decode(saved(tmp_path / "b.png", image, transparency=1), size=16, channels=3).any()


def test_grey_from_colour_is_luma_and_colour_from_grey_repeats(tmp_path: Path) -> None:
    colour = saved(tmp_path / "colour.png", Image.new("RGB", (8, 8), (255, 0, 0)))
    assert decode(colour, size=16, channels=1)[0, 0, 0] == round(0.299 * 255)
    pixels = decode(saved(tmp_path / "grey.png", grey(9)), size=16, channels=3)
    assert (pixels == 9).all()


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16).repeat(4, axis=0)
    path = saved(tmp_path / f"deep.{suffix}", Image.fromarray(values))
    assert np.asarray(open_image(path))[0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bit_pixels_are_refused_because_their_range_is_unknown(tmp_path: Path, dtype: type) -> None:
    path = saved(tmp_path / "deep.tiff", Image.fromarray(np.ones((8, 8), dtype=dtype)))
    with pytest.raises(DataError, match=r"deep\.tiff: its 32-bit pixels have no agreed range; convert it to 8-bit"):
        decode(path, size=16, channels=1)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    pixels[0] = 255  # a white line at the top, which the camera says is the right-hand side
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
    path = saved(tmp_path / "turned.png", Image.fromarray(pixels), exif=exif)
    upright = decode(path, size=SIDE, channels=1)[0]
    assert (upright[:, -1] == 255).all()
    assert not upright[:, :-1].any()


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    noise().save(tmp_path / "right.png")
    (tmp_path / "wrong.jpg").write_bytes((tmp_path / "right.png").read_bytes())
    right, wrong = (decode(tmp_path / name, size=SIDE, channels=3) for name in ("right.png", "wrong.jpg"))
    assert np.array_equal(right, wrong)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png", "mpo"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving.{suffix}"
    grey(10).convert("RGB").save(path, save_all=True, append_images=[grey(200).convert("RGB")])
    assert decode(path, size=16, channels=1)[0, 0, 0] == pytest.approx(10, abs=2)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff", "webp", "gif", "pgm", "jp2"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"half.{suffix}", noise().convert("L"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"half\.{suffix}: cannot be decoded \(.+\); replace it or remove it"):
        decode(path, size=16, channels=1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"not an image at all", "not an image of a known format: PNG, JPEG"),
        ("drawing.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_what_is_no_image_is_an_error_that_says_so(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: cannot be decoded .{message}"):
        decode(tmp_path / name, size=16, channels=1)


def test_missing_files_and_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        decode(tmp_path / "gone.png", size=16, channels=1)
    with pytest.raises(DataError, match="it is a folder"):
        decode(tmp_path, size=16, channels=1)
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        file_hash(tmp_path / "gone.png")


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match=r"bomb\.png: .*more than 67108864 pixels"):
        decode(tmp_path / "bomb.png", size=16, channels=1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow remarks on what it skips
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_damaged_files_raise_nothing_but_data_errors(tmp_path: Path, kind: str) -> None:
    assert kind in FORMATS
    path = tmp_path / "damaged.png"
    noise(size=(20, 20)).save(path, kind)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 120), 4):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            decode(path, size=16, channels=3)
        except DataError:
            refused += 1
    assert refused > 0


def test_which_direction_is_resized_first_does_not_depend_on_the_shape(tmp_path: Path) -> None:
    for height, width in ((511, 60), (60, 511), (511, 257)):
        image = noise(size=(height, width))
        rows_first = image.resize((SIDE, height), Image.Resampling.BILINEAR)
        expected = np.asarray(rows_first.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.array_equal(decode(saved(tmp_path / "image.png", image), size=SIDE, channels=3), expected)


def test_shrinking_averages_and_does_not_alias_or_overshoot(tmp_path: Path) -> None:
    stripes = np.zeros((128, 128), dtype=np.uint8)
    stripes[:, ::2] = 200
    small = decode(saved(tmp_path / "stripes.png", Image.fromarray(stripes)), size=16, channels=1)
    assert small[0] == pytest.approx(np.full((16, 16), 100), abs=8)
    edge = np.full((128, 128), 50, dtype=np.uint8)
    edge[:, 64:] = 200
    small = decode(saved(tmp_path / "edge.png", Image.fromarray(edge)), size=20, channels=1)
    assert small.min() == 50
    assert small.max() == 200


def test_content_is_the_picture_and_not_the_file(tmp_path: Path) -> None:
    image = noise().convert("L")
    same = [
        saved(tmp_path / "a.png", image),
        saved(tmp_path / "b.bmp", image),
        saved(tmp_path / "c.png", image.convert("RGB")),
    ]
    other = saved(tmp_path / "d.png", noise(1).convert("L"))
    turned = saved(tmp_path / "e.png", image.transpose(Image.Transpose.ROTATE_90))
    hashes = [content_hash(open_image(path)) for path in same]
    assert len(set(hashes)) == 1
    assert len({hashes[0], content_hash(open_image(other)), content_hash(open_image(turned))}) == 3


def test_a_pixel_hash_depends_on_values_shape_and_type_but_not_on_memory_layout() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    others = [pixels + 1, pixels.reshape(1, 4, 3), pixels.astype(np.int8)]
    assert len({pixel_hash(array) for array in [pixels, *others]}) == 4
    assert pixel_hash(np.asfortranarray(pixels)) == pixel_hash(pixels)


def test_a_folder_lists_its_images_by_name_and_counts_what_it_skips(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.tif"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("Thumbs.db", "notes.txt", "._a.jpg", "README"):
        (tmp_path / name).write_bytes(b"x")
    files, skipped = image_files(tmp_path)
    assert [file.name for file in files] == ["a.jpg", "b.PNG", "c.tif"]
    assert [file.name for file in skipped] == ["._a.jpg", "README", "Thumbs.db", "notes.txt"]


def test_a_folder_without_images_says_which_folders_it_holds(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    with pytest.raises(DataError, match=r"no image in it .*it holds the folders good"):
        image_files(tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        image_files(tmp_path / "nowhere")
