"""Decoded images on disk: every file is decoded once, then memory-mapped by all processes of a machine.

An entry is `<key>.npy` (uint8 (N, C, H, W)) and `<key>.json` (hashes of every image, and a checksum of the entry).
The key is a hash of the files' bytes, the image size, the rule of shrinking, the channels, the bit depth and the decode
version, so entries are never stale. An image that another entry has is copied from there.

JPEGs are decoded whole, not at a half or an eighth of their size, which is faster: the pixels would be others, and with
them the hash of the data in every stored model.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.data import file_facts
from assay.data.file_facts import Kept
from assay.data.images import (
    DECODE_VERSION,
    USUAL,
    eight_bit,
    file_hash,
    largest,
    oddities,
    pixel_hash,
    resized,
    stored,
)
from assay.data.shrinking import Rule
from assay.errors import DataError

log = logging.getLogger(__name__)

POOL = "pool-"
"""The beginning of the name of an entry from which others will be made, and which is then removed."""


class How(NamedTuple):
    """How files become pixels: size (height, width), 1 or 3 channels, the bit depth of 16-bit files, the rule."""

    size: tuple[int, int]
    channels: int
    bit_depth: int | None = None
    rule: Rule = USUAL

    def __str__(self) -> str:
        height, width = self.size
        rule = "" if self.rule == USUAL else f"{self.rule.fit} {self.rule.filter} "
        return f"{DECODE_VERSION} {height}x{width} {self.channels} {self.bit_depth or 16} {rule}"


class Decoded(NamedTuple):
    """Images as decoded: pixels uint8 (N, C, H, W), read-only and mapped from disk, the hash of each, and its picture.

    pictures: equal for the same image at its native size in any file format, among the images decoded together.
    largest: of each image with 16 bits its largest value, of others 0. oddities: of each image, see there.
    """

    pixels: np.ndarray
    hashes: list[str]
    largest: list[int]
    oddities: list[list[str]]
    pictures: list[str]


class _Entry(NamedTuple):
    """What an entry holds."""

    pixels: np.ndarray
    hashes: list[str]
    largest: list[int]
    oddities: list[list[str]]


class _One(NamedTuple):
    """One decoded image: its pixels (C, H, W), their hash, the largest value if it has 16 bits, its oddities."""

    pixels: NDArray[np.uint8]
    hash: str
    largest: int
    oddities: list[str]


def decoded(lists: Sequence[Sequence[Path]], how: How, folder: Path | None = None) -> list[Decoded]:
    """The images of each list of files (at least one), in order, decoded or read from the cache.

    A damaged entry is decoded again. Raises DataError for a file that cannot be read or decoded, and for a cache folder
    that is not writable.
    """
    folder = folder or file_facts.default_folder()
    paths = [path for of in lists for path in of]
    files = file_facts.file_hashes(paths, folder)
    pools = _pools(files, how, folder)
    rest = iter(zip(paths, files, strict=True))
    entries = [_entry(list(itertools.islice(rest, len(of))), how, folder) for of in lists]
    for pool in pools:  # every entry that needed it has its images now
        (folder / pool).unlink(missing_ok=True)
        (folder / pool).with_suffix(".json").unlink(missing_ok=True)
    names = iter(_pictures(paths, files, [hash for entry in entries for hash in entry.hashes], folder))
    return [Decoded(*entry, [next(names) for _ in entry.hashes]) for entry in entries]


def pictures(paths: Sequence[Path], how: How, folder: Path | None = None) -> list[str]:
    """A name for the picture in each file, see `Decoded`; what must be decoded to find it is kept for `decoded`.

    Raises DataError as `decoded`.
    """
    folder = folder or file_facts.default_folder()
    files = file_facts.file_hashes(paths, folder)
    known = {file: one.pixels for file, one in file_facts.kept(str(how), folder).items()}
    new = {file: path for file, path in zip(files, paths, strict=True) if file not in known}
    if new:
        entry = _entry([(path, file) for file, path in new.items()], how, folder, POOL)
        known |= zip(new, entry.hashes, strict=True)
    return _pictures(paths, files, [known[file] for file in files], folder)


def _pictures(paths: Sequence[Path], files: Sequence[str], hashes: Sequence[str], folder: Path) -> list[str]:
    """The hash of the pixels of each file; at native size, where files with different bytes have the same pixels.

    The same picture has the same pixels at every size, so that few files, or none, are decoded again.
    """
    with_these: dict[str, set[str]] = defaultdict(set)
    for hash, file in zip(hashes, files, strict=True):
        with_these[hash].add(file)
    doubtful = [path for path, hash in zip(paths, hashes, strict=True) if len(with_these[hash]) > 1]
    if not doubtful:
        return list(hashes)
    native = dict(zip(doubtful, file_facts.contents(doubtful, folder), strict=True))
    return [native[path].hash if path in native else hash for path, hash in zip(paths, hashes, strict=True)]


def _pools(files: Sequence[str], how: How, folder: Path) -> set[str]:
    """The pools that hold images of these files."""
    if next(folder.glob(f"{POOL}*"), None) is None:
        return set()
    wanted = set(files)
    known = file_facts.kept(str(how), folder).items()
    return {one.entry for file, one in known if file in wanted and one.entry.startswith(POOL)}


def _entry(of: Sequence[tuple[Path, str]], how: How, folder: Path, prefix: str = "") -> _Entry:
    """The entry of these files and the hashes of their bytes, made if it isn't there or is damaged."""
    files = [file for _, file in of]
    digest = hashlib.sha256((str(how) + " ".join(files)).encode())
    entry = folder / f"{prefix}{digest.hexdigest()}.npy"
    cached = _read(entry)
    if cached is None:
        try:
            made = _make(entry, of, how)
        except OSError as error:
            raise DataError(
                f"{folder}: cannot write the image cache ({error.strerror}); set ASSAY_CACHE to another folder"
            ) from error
        file_facts.keep(str(how), dict(zip(files, made, strict=True)), folder)
        cached = _read(entry)
    if cached is None:
        raise DataError(f"{entry}: the cache does not keep what is written to it; set ASSAY_CACHE to another folder")
    return cached


def _read(entry: Path) -> _Entry | None:
    """The entry if it exists and is intact, else None."""
    if not (entry.exists() and entry.with_suffix(".json").exists()):
        return None
    try:
        record = json.loads(entry.with_suffix(".json").read_text(encoding="utf-8"))
        seal = record.pop("seal")
        # Checked before numpy reads it: a flipped bit in an image would otherwise go unnoticed.
        if seal != _seal(record) or record["pixels"] != file_hash(entry):
            raise ValueError("its seal does not match")
        largest = [int(value) for value in record["largest"]]
        return _Entry(np.load(entry, mmap_mode="r"), record["hashes"], largest, record["oddities"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        log.warning("cached images %s are damaged (%s); decoding them again", entry, error)
        return None


def _make(entry: Path, of: Sequence[tuple[Path, str]], how: How) -> list[Kept]:
    """Write an entry, of images that other entries have and of those that are decoded now."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    elsewhere = file_facts.kept(str(how), entry.parent)
    files, made = dict(of), list[Kept]()

    def one(path: Path) -> _One:
        known = elsewhere.get(files[path])
        copy = _copied(entry.parent / known.entry, known) if known and known.entry != entry.name else None
        return copy or _decoded(path, how)

    def write_pixels(file: BinaryIO) -> None:
        # Written image by image: splits may exceed memory, and a full disk raises an error instead of a SIGBUS.
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(of), how.channels, *how.size)}
        np.lib.format.write_array_header_1_0(file, header)
        for image in file_facts.all_decoded(one, [path for path, _ in of]):
            made.append(Kept(image.hash, image.largest, image.oddities, entry.name, len(made)))
            file.write(image.pixels.tobytes())

    pixels_hash = _write_whole(entry, write_pixels)
    record = {
        "pixels": pixels_hash,
        "hashes": [one.pixels for one in made],
        "oddities": [one.oddities for one in made],
        "largest": [one.largest for one in made],
    }
    record["seal"] = _seal(record)
    _write_whole(entry.with_suffix(".json"), lambda file: file.write(json.dumps(record).encode()))
    return made


def _decoded(path: Path, how: How) -> _One:
    image, orientation = stored(path)
    odd = oddities(image, orientation)
    native = eight_bit(image, orientation, path, how.bit_depth)
    pixels = resized(native, size=how.size, channels=how.channels, rule=how.rule)
    return _One(pixels, pixel_hash(pixels), largest(image), odd)


def _copied(entry: Path, known: Kept) -> _One | None:
    """An image of another entry, or None where that is gone or damaged."""
    try:
        with entry.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
            size = int(np.prod(shape[1:]))
            file.seek(known.row * size, os.SEEK_CUR)
            pixels = np.frombuffer(file.read(size), np.uint8).reshape(shape[1:])
    except (OSError, ValueError):
        return None
    return _One(pixels, known.pixels, known.largest, known.oddities) if pixel_hash(pixels) == known.pixels else None


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
