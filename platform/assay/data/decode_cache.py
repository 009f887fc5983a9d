"""Decoded images on disk: every split is decoded once, then memory-mapped by all processes of a machine.

An entry is `<key>.npy` (uint8 (N, C, H, W)) and `<key>.json` (hashes of every image, and a checksum of the entry).
The key is a hash of the files' bytes, the image size, the rule of shrinking, the channels, the bit depth and the decode
version, so entries are never stale.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from assay.data import file_facts
from assay.data.images import (
    DECODE_VERSION,
    USUAL,
    Content,
    decoded_content,
    eight_bit,
    file_hash,
    height_and_width,
    oddities,
    pixel_hash,
    resized,
    stored,
)
from assay.data.shrinking import Rule
from assay.errors import DataError

log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """Images as decoded: pixels uint8 (N, C, H, W), read-only and mapped from disk, and two hashes of each.

    hashes: of these pixels. contents: of the image at its native size; equal for the same image in any file format.
    largest: the largest value of all images with 16 bits, 0 if there are none. oddities: of each image, see there.
    """

    pixels: np.ndarray
    hashes: list[str]
    contents: list[str]
    largest: int
    oddities: list[list[str]]


def decoded(
    paths: Sequence[Path],
    *,
    size: int | Sequence[int],
    channels: int,
    bit_depth: int | None = None,
    rule: Rule = USUAL,
    folder: Path | None = None,
) -> Decoded:
    """The images of `paths` (at least one), in order, decoded or read from the cache.

    bit_depth: of 16-bit files. A damaged entry is decoded again. Raises DataError for a file that cannot be read or
    decoded, and for a cache folder that is not writable.
    """
    folder = folder or file_facts.default_folder()
    height, width = height_and_width(size)
    files = file_facts.file_hashes(paths, folder)
    about = f"{DECODE_VERSION} {height}x{width} {channels} {bit_depth or 16} "
    if rule != USUAL:
        about += f"{rule.fit} {rule.filter} "
    digest = hashlib.sha256((about + " ".join(files)).encode())
    entry = folder / f"{digest.hexdigest()}.npy"
    cached = _read(entry)
    if cached is None:
        try:
            contents = _decode_into(entry, paths, (height, width), channels, bit_depth, rule)
        except OSError as error:
            raise DataError(
                f"{folder}: cannot write the image cache ({error.strerror}); set ASSAY_CACHE to another folder"
            ) from error
        file_facts.remember(dict(zip(files, contents, strict=True)), folder)
        cached = _read(entry)
    if cached is None:
        raise DataError(f"{entry}: the cache does not keep what is written to it; set ASSAY_CACHE to another folder")
    return cached


def _read(entry: Path) -> Decoded | None:
    """The entry if it exists and is intact, else None."""
    if not (entry.exists() and entry.with_suffix(".json").exists()):
        return None
    try:
        record = json.loads(entry.with_suffix(".json").read_text(encoding="utf-8"))
        seal = record.pop("seal")
        # Checked before numpy reads it: a flipped bit in an image would otherwise go unnoticed.
        if seal != _seal(record) or record["pixels"] != file_hash(entry):
            raise ValueError("its seal does not match")
        hashes, contents = record["hashes"], record["contents"]
        odd = record.get("oddities") or [[] for _ in hashes]  # entries of before say nothing
        return Decoded(np.load(entry, mmap_mode="r"), hashes, contents, record["largest"], odd)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        log.warning("cached images %s are damaged (%s); decoding them again", entry, error)
        return None


def _decode_into(
    entry: Path, paths: Sequence[Path], size: tuple[int, int], channels: int, bit_depth: int | None, rule: Rule
) -> list[Content]:
    entry.parent.mkdir(parents=True, exist_ok=True)
    hashes: list[str] = []
    contents: list[Content] = []
    odd: list[list[str]] = []

    def one(path: Path) -> tuple[np.ndarray, Content, list[str]]:
        image, orientation = stored(path)
        odd_of = oddities(image, orientation)
        native = eight_bit(image, orientation, path, bit_depth)
        return (
            resized(native, size=size, channels=channels, rule=rule),
            decoded_content(image, orientation, path),
            odd_of,
        )

    def write_pixels(file: BinaryIO) -> None:
        # Written image by image: splits may exceed memory, and a full disk raises an error instead of a SIGBUS.
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), channels, *size)}
        np.lib.format.write_array_header_1_0(file, header)
        for pixels, content, odd_of in file_facts.all_decoded(one, paths):
            hashes.append(pixel_hash(pixels))
            contents.append(content)
            odd.append(odd_of)
            file.write(pixels.tobytes())

    pixels_hash = _write_whole(entry, write_pixels)
    record = {
        "pixels": pixels_hash,
        "hashes": hashes,
        "contents": [content.hash for content in contents],
        "oddities": odd,
        "largest": max(content.largest for content in contents),
    }
    record["seal"] = _seal(record)
    _write_whole(entry.with_suffix(".json"), lambda file: file.write(json.dumps(record).encode()))
    return contents


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> str:
    """Write a file under a temporary name, then rename it atomically; returns the hash of its bytes.

    Processes that write the same entry at the same time write the same bytes, so either copy may win.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            write(file)
        written = file_hash(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return written


def _seal(record: object) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
