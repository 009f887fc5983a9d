"""Image files: find them in a folder, decode them defensively, and hash decoded pixels.

A file is decoded by its content, whatever its suffix. The result is always 8-bit grey or RGB:

- 16-bit grey is scaled by 1/257 (65535 becomes 255), never clipped; 32-bit pixels have no agreed range and are refused;
- alpha is composited on black; palette, 1-bit and CMYK are converted; colour to grey is ITU-R 601 luma;
- EXIF orientation is applied; animations and multi-page files give their first frame.

Only the formats in FORMATS are opened: others may start programs (EPS) or can only be recognised by guessing.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from assay.errors import DataError

DECODE_VERSION = 2
"""Increase whenever `decode` may give different pixels for the same file: caches of decoded images are keyed by it."""

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
)

MAX_PIXELS = 64 * 1024 * 1024
"""Larger images are refused: a file of a few kilobytes can claim gigabytes of pixels."""

RESAMPLING = Image.Resampling.BILINEAR
"""Pillow widens this triangle filter by the scale factor, so it does not alias. Unlike LANCZOS it has no negative
lobes, whose halos look like defects, and unlike BOX it leaves no blocks when an image is enlarged."""

MODES = {1: "L", 3: "RGB"}
"""Number of channels -> Pillow's mode."""

MASK_THRESHOLD = 127

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


def image_files(folder: Path) -> tuple[list[Path], int]:
    """The image files directly in a folder, sorted by name, and how many other files were skipped.

    Files count as images by their suffix (SUFFIXES, in any case); hidden files (`._cell.png`) never do. A file that
    counts as an image but cannot be decoded is an error later, and is not skipped. Raises DataError if the folder does
    not exist or contains no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the path")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not images:
        folders = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"; it holds the folders {', '.join(folders[:5])}: name one of these" if folders else ""
        raise DataError(f"{folder}: no image in it ({' '.join(SUFFIXES)}){hint}")
    return images, len(files) - len(images)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W) of the side of square images, or of [height, width]."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def decode(path: Path, *, size: int | Sequence[int], channels: int) -> np.ndarray:
    """One file as uint8 (C, H, W): antialiased, aspect ratio not kept; raises DataError naming the file.

    size: the side of square images, or [height, width].
    """
    return resized(open_image(path), size=size, channels=channels)


def decode_mask(path: Path, *, size: int | Sequence[int]) -> np.ndarray:
    """A defect mask as bool (1, H, W): True where a pixel covers anything brighter than MASK_THRESHOLD.

    The threshold is applied before resizing, so that a defect thinner than a pixel of the small image is kept.
    """
    grey = np.asarray(open_image(path).convert("L"))
    marked = Image.fromarray((grey > MASK_THRESHOLD).astype(np.float32))
    height, width = height_and_width(size)
    small = np.asarray(marked.resize((width, height), Image.Resampling.BOX))
    return small[None] > 0


def open_image(path: Path) -> Image.Image:
    """The first frame at its native size, mode L or RGB, upright; raises DataError if it cannot be decoded."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {image.width} x {image.height} is more than {MAX_PIXELS} pixels; make it smaller"
                )
            kind = image.format
            image.load()
            upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; was it moved after the dataset was read?") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: more than {MAX_PIXELS} pixels ({error}); make it smaller") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be decoded ({_reason(path, error)}); replace it or remove it") from error
    try:
        return _eight_bit(upright, kind)
    except ValueError as error:
        raise DataError(f"{path}: {error}; convert it to 8-bit grey or RGB") from error


def upright_size(path: Path) -> tuple[int, int]:
    """(H, W) of a file's image at its native size, upright, without decoding it; raises DataError like open_image."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            (width, height), turned = image.size, image.getexif().get(ORIENTATION) in ON_ITS_SIDE
    except _UNREADABLE:
        opened = open_image(path)
        return opened.height, opened.width
    return (width, height) if turned else (height, width)


def resized(image: Image.Image, *, size: int | Sequence[int], channels: int) -> np.ndarray:
    """An image of mode L or RGB as uint8 (C, H, W), C being 1 or 3."""
    height, width = height_and_width(size)
    image = image.convert(MODES[channels])
    # Along the rows first: which of the two comes first depends on Pillow's version, and moves pixels by a grey level.
    image = image.resize((width, image.height), RESAMPLING).resize((width, height), RESAMPLING)
    return pixels_of(image, channels)


def pixels_of(image: Image.Image, channels: int) -> np.ndarray:
    """An image of mode L or RGB as uint8 (C, H, W) at its own size, C being 1 or 3."""
    pixels = np.asarray(image.convert(MODES[channels]))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def pixel_hash(pixels: np.ndarray) -> str:
    """SHA-256 (hex) of an array: its type, its shape and its values."""
    digest = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def content_hash(image: Image.Image) -> str:
    """SHA-256 (hex) of an image at its native size; equal for the same image as PNG or BMP, as grey or RGB."""
    return pixel_hash(np.asarray(image.convert("RGB")))


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
        return f"not an image of a known format: {', '.join(FORMATS)}"
    return str(error) or type(error).__name__


def _eight_bit(image: Image.Image, kind: str | None) -> Image.Image:
    """The same image in mode L or RGB; raises ValueError for pixels without an agreed range."""
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM"))
    if sixteen:
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its 32-bit pixels have no agreed range")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, coloured).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


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
