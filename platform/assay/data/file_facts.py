"""What is known of image files, remembered between commands: the hash of their bytes, and what decoding them showed.

A file that kept its path, size and time of change is not read again; the same bytes are not decoded again.
The memory is one SQLite file in the cache folder; where it can't be kept, everything is worked out anew each time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from assay.data.images import DECODE_VERSION, Content, content, file_hash, first_five
from assay.errors import DataError
from assay.runtime import allowance

log = logging.getLogger(__name__)

FILE = "files.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT);
CREATE TABLE IF NOT EXISTS contents (sha256 TEXT, version INTEGER, content TEXT, largest INTEGER,
                                     PRIMARY KEY (sha256, version));
CREATE TABLE IF NOT EXISTS decoded (sha256 TEXT, how TEXT, pixels TEXT, largest INTEGER, oddities TEXT,
                                    entry TEXT, row INTEGER, PRIMARY KEY (sha256, how));
"""
AT_ONCE = 64
"""Files in flight: enough to keep all cores busy, few enough for images of 64 megapixels."""


class Kept(NamedTuple):
    """An image that was decoded: the hash of its pixels, see `Decoded` for the rest, and where the cache has them.

    entry: the name of the file, in which it is the image number `row`.
    """

    pixels: str
    largest: int
    oddities: list[str]
    entry: str
    row: int


One = TypeVar("One")
Other = TypeVar("Other")


def default_folder() -> Path:
    """The folder given by the environment variable ASSAY_CACHE, or ~/.cache/assay."""
    return Path(os.environ.get("ASSAY_CACHE") or Path.home() / ".cache" / "assay")


def in_parallel(work: Callable[[One], Other], items: Sequence[One]) -> Iterator[Other]:
    """`work` of every item, in order, on a thread for each core; decoding and hashing release Python's lock."""
    with ThreadPoolExecutor(allowance.cores()) as pool:
        for first in range(0, len(items), AT_ONCE):
            yield from pool.map(work, items[first : first + AT_ONCE])


def all_decoded(work: Callable[[Path], Other], files: Sequence[Path]) -> Iterator[Other]:
    """As `in_parallel`, to the end whatever fails; raises one DataError for all files that cannot be decoded."""

    def tried(file: Path) -> Other | DataError:
        try:
            return work(file)
        except DataError as error:
            return error

    failed: dict[Path, DataError] = {}
    for file, made in zip(files, in_parallel(tried, files), strict=True):
        if isinstance(made, DataError):
            failed[file] = made
        elif not failed:
            yield made
    if len(failed) > 1:
        first = next(iter(failed.values()))
        raise DataError(f"{len(failed)} images cannot be read: {first_five(list(failed))}. The first: {first}")
    for error in failed.values():
        raise error


def file_hashes(paths: Sequence[Path], folder: Path | None = None) -> list[str]:
    """SHA-256 (hex) of each file's bytes; raises DataError for one that cannot be read."""
    places = [os.fsencode(path.absolute()) for path in paths]  # bytes, as a path need not be text
    stamps = dict(zip(places, map(_stamp, paths), strict=True))
    rows = _rows(folder, "SELECT path, size, changed, sha256 FROM files")
    known = {path: sha256 for path, size, changed, sha256 in rows if stamps.get(path) == (size, changed)}
    new = [place for place in stamps if place not in known]
    added = dict(zip(new, in_parallel(file_hash, [Path(os.fsdecode(place)) for place in new]), strict=True))
    kept = [(place, *stamps[place], sha256) for place, sha256 in added.items()]
    _add(folder, "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", kept)
    return [(known | added)[place] for place in places]


def contents(paths: Sequence[Path], folder: Path | None = None) -> list[Content]:
    """What the pixels of each file are; raises DataError for one that cannot be decoded."""
    hashes = file_hashes(paths, folder)
    rows = _rows(folder, "SELECT sha256, content, largest FROM contents WHERE version = ?", (DECODE_VERSION,))
    known = {sha256: Content(hash, largest) for sha256, hash, largest in rows}
    new = {sha256: path for sha256, path in zip(hashes, paths, strict=True) if sha256 not in known}
    added = dict(zip(new, all_decoded(content, list(new.values())), strict=True))
    kept = [(sha256, DECODE_VERSION, *one) for sha256, one in added.items()]
    _add(folder, "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?)", kept)
    return [(known | added)[sha256] for sha256 in hashes]


def kept(how: str, folder: Path | None = None) -> dict[str, Kept]:
    """SHA-256 of a file's bytes -> its image, of all files that were decoded in one way."""
    rows = _rows(folder, "SELECT sha256, pixels, largest, oddities, entry, row FROM decoded WHERE how = ?", (how,))
    return {
        sha256: Kept(pixels, largest, json.loads(oddities), entry, row)
        for sha256, pixels, largest, oddities, entry, row in rows
    }


def keep(how: str, added: Mapping[str, Kept], folder: Path | None = None) -> None:
    """Remember where the images of files are, by the SHA-256 of their bytes, and what they were found to be."""
    rows = [
        (sha256, how, one.pixels, one.largest, json.dumps(one.oddities), one.entry, one.row)
        for sha256, one in added.items()
    ]
    _add(folder, "INSERT OR REPLACE INTO decoded VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns


def _rows(folder: Path | None, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """What is remembered; nothing where the memory cannot be read."""
    try:
        with contextlib.closing(_opened(folder)) as memory:
            return memory.execute(query, values).fetchall()
    except (OSError, sqlite3.Error) as error:
        log.warning("what is known of image files cannot be read (%s); they are read anew", error)
        return []


def _add(folder: Path | None, query: str, rows: Sequence[tuple[object, ...]]) -> None:
    try:
        with contextlib.closing(_opened(folder)) as memory, memory:
            memory.executemany(query, rows)
    except (OSError, sqlite3.Error) as error:
        log.warning("what is known of image files cannot be kept (%s); they will be read anew", error)


def _opened(folder: Path | None) -> sqlite3.Connection:
    place = folder or default_folder()
    place.mkdir(parents=True, exist_ok=True)
    memory = sqlite3.connect(place / FILE, timeout=60)
    memory.executescript(SCHEMA)
    return memory
