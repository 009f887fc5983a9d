"""Image files: find them in a folder, decode them defensively, and hash decoded pixels.

A file is decoded by its content, whatever its suffix. The result is always 8-bit grey or RGB:

- 16-bit grey is scaled so that the largest value of its bit depth becomes 255 (65535 for 16), never clipped; 32-bit
  pixels have no agreed range and are refused;
- alpha is composited on black; palette, 1-bit and CMYK are converted; colour to grey is ITU-R 601 luma;
- EXIF orientation is applied; animations and multi-page files give their first frame.

Only the formats in FORMATS are opened: others may start programs (EPS) or can only be recognised by guessing.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from assay.data.shrinking import FILTERS, Rule, shrunk
from assay.errors import DataError

DECODE_VERSION = 3
"""Increase whenever other pixels may come of the same file, or other words be said of it: caches are keyed by it."""

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
)

MAX_PIXELS = 64 * 1024 * 1024
"""Larger images are refused: a file of a few kilobytes can claim gigabytes of pixels."""

USUAL = Rule()
RESAMPLING = FILTERS[USUAL.filter]
"""Of pictures that are only looked at."""

MODES = {1: "L", 3: "RGB"}
"""Number of channels -> Pillow's mode."""

COLOURS, SIXTEEN = ("LA", "RGB", "RGBA", "RGBX", "CMYK"), re.compile(";16[BLN]")
"""Pillow's modes of 8 bits a colour, and how it names the layout of a file that has 16."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the image upright, by its standard."""

CONVERTED = {"CMYK": "CMYK", "LAB": "CIELAB", "YCbCr": "YCbCr", "HSV": "HSV"}
"""Modes of Pillow -> names of colour spaces that are converted without a colour profile."""

PALETTES = ("P", "PA")
"""Modes of Pillow in which a pixel is the number of a colour."""

FRAMES, DEEP = "frames", "deep"
"""Keys in an image's own notes: how many its file holds; whether it holds 16 bits a colour, of which Pillow reads 8."""

POINTER = b"version https://git-lfs"
"""How a file of a few bytes begins that stands for one which Git LFS has not fetched."""

ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of orientation, and its values that swap height and width."""

# What Pillow raises on damaged files: found by damaging files of every format above and from Pillow's own handlers.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The image files directly in a folder, sorted by name, and the other files, which are skipped.

    Files count as images by their suffix (SUFFIXES, in any case); hidden files (`._cell.png`) never do. A file that
    counts as an image but cannot be decoded is an error later, and is not skipped. Raises DataError if the folder does
    not exist, contains no image or a name that is not UTF-8, or has images that are folders or links to nothing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the path")
    there = sorted(folder.iterdir())
    named = [path for path in there if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if dead := [path for path in named if path.is_symlink() and not path.exists()]:
        raise DataError(
            f"{folder}: {len(dead)} images are links to a file that is not there: {first_five(dead)}; fetch the files "
            "(git annex get, dvc pull), mount the disk, or remove the links"
        )
    refuse_odd_names([path.name for path in there], folder)
    if called := [path for path in named if path.is_dir()]:
        raise DataError(f"{folder}: {len(called)} folders are called like images: {first_five(called)}; rename them")
    images = [path for path in named if path.is_file()]
    if not images:
        folders = [path.name for path in there if path.is_dir()]
        hint = f"; it holds the folders {', '.join(folders[:5])}: name one of these" if folders else ""
        raise DataError(f"{folder}: no image in it ({' '.join(SUFFIXES)}){hint}")
    taken = set(images)
    return images, [path for path in there if path.is_file() and path not in taken]


def first_five(paths: Sequence[Path]) -> str:
    """The names of the first five files, and how many more there are."""
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(path.name for path in paths[:5]) + more


def refuse_odd_names(names: Sequence[str], folder: Path) -> None:
    """Raise DataError for names in a folder that no table could hold: not UTF-8, or with line breaks and the like."""
    if broken := [name for name in names if any(unicodedata.category(sign) == "Cc" for sign in name)]:
        shown = ", ".join(map(ascii, broken[:5]))
        raise DataError(f"{str(folder)!a}: {len(broken)} names hold control characters: {shown}; rename them")
    if odd := [name for name in names if not _is_utf8(name)]:
        shown = ", ".join(map(ascii, odd[:5]))
        raise DataError(f"{str(folder)!a}: {len(odd)} names are not UTF-8: {shown}; rename them")


def composed(name: str) -> str:
    """A name in the Unicode form (NFC) in which letters and their accents are one; macOS takes them apart."""
    return unicodedata.normalize("NFC", name)


def on_disk(base: Path, name: str) -> str:
    """A path below a folder in the Unicode form that it has there: names are often written on another system."""
    forms = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    return next((form for form in forms if (base / form).exists()), name)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W) of the side of square images, or of [height, width]."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def decode(
    path: Path, *, size: int | Sequence[int], channels: int, rule: Rule = USUAL, bit_depth: int | None = None
) -> np.ndarray:
    """One file as uint8 (C, H, W), shrunk by the rule; raises DataError naming the file.

    size: the side of square images, or [height, width].
    """
    return resized(open_image(path, bit_depth), size=size, channels=channels, rule=rule)


def open_image(path: Path, bit_depth: int | None = None) -> Image.Image:
    """The first frame at its native size, mode L or RGB, upright; raises DataError if it cannot be decoded.

    bit_depth: of the values in 16-bit files, whose largest becomes 255; default 16.
    """
    return eight_bit(*stored(path), path, bit_depth)


def eight_bit(image: Image.Image, orientation: int, path: Path, bit_depth: int | None = None) -> Image.Image:
    """An image from `stored` as `open_image` gives it."""
    try:
        if bit_depth not in (None, 16) and image.info.get(DEEP):
            raise ValueError(f"of its 16 bits a colour only the upper 8 are read, so {bit_depth} bits can't be scaled")
        return _eight_bit(turned(image, orientation), image.format, 16 if bit_depth is None else bit_depth)
    except ValueError as error:
        raise DataError(f"{path}: {error}; convert it to 8-bit grey or RGB") from error


def stored(path: Path, *, header_only: bool = False) -> tuple[Image.Image, int]:
    """The first frame as it is stored, and its EXIF orientation (1: upright); raises DataError as `open_image`.

    header_only: do not decode it; only its size, its mode and the orientation are good for anything.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {image.width} x {image.height} is more than {MAX_PIXELS} pixels; make it smaller"
                )
            if not header_only:
                image.info[FRAMES] = getattr(image, "n_frames", 1)
                layouts = (str(tile[3]) for tile in getattr(image, "tile", ()))  # as Pillow names them: RGB;16B
                image.info[DEEP] = image.mode in COLOURS and any(SIXTEEN.search(layout) for layout in layouts)
                image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
            return image, orientation if orientation in TURNS else 1
    except FileNotFoundError:
        why = (
            "was it moved after the dataset was read?"
            if not path.is_symlink()
            else f"it is a link to {path.readlink()}"
        )
        raise DataError(f"{path}: no such file; {why}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: more than {MAX_PIXELS} pixels ({error}); make it smaller") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be decoded ({_reason(path, error)}); replace it or remove it") from error


def oddities(image: Image.Image, orientation: int) -> list[str]:
    """What is done to an image from `stored` that its owner may not expect, as ends of the sentence "3 images ..."."""
    said = []
    if image.mode in CONVERTED:
        said.append(f"are {CONVERTED[image.mode]}, and are converted to RGB")
    if image.mode in PALETTES:
        said.append("have a palette, whose colours are read")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        said.append("are transparent, and are laid on black")
    if orientation != 1:
        said.append("are turned as their EXIF tag says")
    if image.info.get(FRAMES, 1) > 1:
        said.append("hold several frames, of which the first is read")
    if image.info.get(DEEP):
        said.append("have 16 bits a colour, of which the upper 8 are read")
    if min(image.size) == 1:
        said.append("are a single row or column of pixels")
    return said


def largest(image: Image.Image) -> int:
    """The largest value of an image from `stored` if it has 16 bits, else 0.

    Of colours, of which the lower 8 bits are not read, the largest that it may be.
    """
    if is_sixteen_bit(image, image.format):
        return int(np.asarray(image).max())
    if not image.info.get(DEEP):
        return 0
    values = np.asarray(image)
    return 256 * int((values[..., :-1] if image.mode in ("LA", "RGBA") else values).max()) + 255


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """An image as its EXIF orientation says that it is to be shown."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def upright_size(path: Path) -> tuple[int, int]:
    """(H, W) of a file's image at its native size, upright, without decoding it; raises DataError like open_image."""
    image, orientation = stored(path, header_only=True)
    return (image.width, image.height) if orientation in ON_ITS_SIDE else (image.height, image.width)


def resized(image: Image.Image, *, size: int | Sequence[int], channels: int, rule: Rule = USUAL) -> np.ndarray:
    """An image of mode L or RGB as uint8 (C, H, W), C being 1 or 3, shrunk by the rule."""
    return pixels_of(shrunk(in_mode(image, MODES[channels]), height_and_width(size), rule), channels)


def pixels_of(image: Image.Image, channels: int) -> np.ndarray:
    """An image of mode L or RGB as uint8 (C, H, W) at its own size, C being 1 or 3."""
    pixels = np.asarray(in_mode(image, MODES[channels]))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image in a mode of Pillow; the image itself, not a copy of its megabytes, if it has that mode."""
    return image if image.mode == mode else image.convert(mode)


def pixel_hash(pixels: np.ndarray) -> str:
    """SHA-256 (hex) of an array: its type, its shape and its values."""
    digest = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def content_hash(image: Image.Image) -> str:
    """SHA-256 (hex) of an image at its native size; equal for the same image as PNG or BMP, as grey or RGB."""
    return pixel_hash(np.asarray(in_mode(image, "RGB")))


class Content(NamedTuple):
    """The hash of an image's pixels at native size, and the largest of its values if they have 16 bits, else 0."""

    hash: str
    largest: int


def content(path: Path) -> Content:
    """What an image file holds, whatever its format; raises DataError if it cannot be decoded."""
    image, orientation = stored(path)
    if is_sixteen_bit(image, image.format):
        values = np.asarray(turned(image, orientation)).astype(np.uint16)
        return Content(pixel_hash(values), int(values.max()))
    return Content(content_hash(eight_bit(image, orientation, path)), 0)


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; raises DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _reason(path: Path, error: Exception) -> str:
    if path.is_dir():
        return "it is a folder"
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
    except OSError:
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                return "it is a pointer of Git LFS, not the file itself: git lfs pull"
        return f"not an image of a known format: {', '.join(FORMATS)}"
    return str(error) or type(error).__name__


def is_sixteen_bit(image: Image.Image, kind: str | None) -> bool:
    """Whether the pixels are grey values of 16 bits; kind: the format of the file."""
    return image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM"))


def _eight_bit(image: Image.Image, kind: str | None, bit_depth: int) -> Image.Image:
    """The same image in mode L or RGB; raises ValueError for pixels without an agreed range."""
    if is_sixteen_bit(image, kind):
        values, largest = np.asarray(image).astype(np.uint32), 2**bit_depth - 1
        if values.max() > largest:
            raise ValueError(f"it holds {values.max()}, more than {bit_depth} bits can; set a larger `bit_depth`")
        return Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its 32-bit pixels have no agreed range")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, coloured).convert("RGB")
    return in_mode(image, "L" if image.mode in ("1", "L") else "RGB")


def png(pixels: NDArray[np.uint8], largest: int | None = None) -> bytes:
    """An image (C, H, W) as a PNG file: grey, or its first three channels as RGB; no side longer than `largest`."""
    plane = pixels[0] if len(pixels) < 3 else np.ascontiguousarray(pixels[:3].transpose(1, 2, 0))
    image = Image.fromarray(plane)
    if largest and max(image.size) > largest:
        shrink = largest / max(image.size)
        image = image.resize((round(image.width * shrink), round(image.height * shrink)), RESAMPLING)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()
