"""IDX files, the format of MNIST: read whole, checked against their header, unpacked once into the cache as PNG files.

The header: two zeros, the type of numbers (8: unsigned bytes), the number of axes, and the length of each axis as a
big-endian 32-bit integer. Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.data.file_facts import default_folder
from assay.data.images import MAX_PIXELS
from assay.errors import DataError

MOST = 4 * 2**30
"""Bytes that a file may unpack to: a few kilobytes of gzip can claim terabytes."""


def array(file: Path, axes: int) -> NDArray[np.uint8]:
    """The unsigned bytes of an IDX file, gzipped or not; raises DataError for another format and a file cut short."""
    try:
        with file.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(file) if packed else file.open("rb") as stream:
            head = stream.read(4 + 4 * axes)
            shape = _shape(file, head, axes)
            size = int(np.prod(shape, dtype=object))
            if size > MOST:
                raise DataError(f"{file}: its header claims {size} bytes, more than {MOST}; is it damaged?")
            content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); it may be cut short: fetch it again") from error
    if len(content) != size:
        found = "more" if len(content) > size else f"only {len(content)}"
        raise DataError(f"{file}: its header claims {size} bytes and it holds {found}; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def unpacked(file: Path, images: NDArray[np.uint8], wanted: Iterable[int]) -> dict[int, Path]:
    """Number of an image -> its PNG file in the cache, made if it is not there; raises DataError for lack of room."""
    if images.shape[1] * images.shape[2] > MAX_PIXELS or 0 in images.shape:
        raise DataError(f"{file}: images of {images.shape[2]} x {images.shape[1]} pixels; is it damaged?")
    folder = default_folder() / "unpacked" / hashlib.sha256(images.tobytes() + repr(images.shape).encode()).hexdigest()
    paths = {number: folder / f"{number:06}.png" for number in wanted}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
        for number, path in paths.items():
            if path.name not in there:
                part = folder / f"{uuid.uuid4().hex}.part"
                Image.fromarray(images[number]).save(part, "PNG", compress_level=1)
                part.replace(path)
    except OSError as error:
        raise DataError(
            f"{folder}: {file.name} cannot be unpacked ({error}); set ASSAY_CACHE to a folder with room"
        ) from error
    return paths


def _shape(file: Path, head: bytes, axes: int) -> tuple[int, ...]:
    if len(head) < 4 + 4 * axes or head[:3] != b"\x00\x00\x08" or head[3] != axes:
        raise DataError(
            f"{file}: not an IDX file of unsigned bytes with {axes} axes (it begins with {head[:4].hex() or 'nothing'})"
        )
    return struct.unpack(f">{axes}I", head[4:])
