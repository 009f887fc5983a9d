"""What is known of image files: the hash of their bytes and of their pixels, remembered between commands.

A file that kept its path, size and time of change is not read again; pixels of the same bytes are not decoded again.
The memory is one SQLite file in the cache folder; where it can't be kept, everything is worked out anew each time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from assay.data.images import DECODE_VERSION, Content, content, file_hash

log = logging.getLogger(__name__)

FILE = "files.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT);
CREATE TABLE IF NOT EXISTS contents (sha256 TEXT, version INTEGER, content TEXT, largest INTEGER,
                                     PRIMARY KEY (sha256, version));
"""
AT_ONCE = 64
"""Files in flight: enough to keep all cores busy, few enough for images of 64 megapixels."""

One = TypeVar("One")
Other = TypeVar("Other")


def default_folder() -> Path:
    """The folder given by the environment variable ASSAY_CACHE, or ~/.cache/assay."""
    return Path(os.environ.get("ASSAY_CACHE") or Path.home() / ".cache" / "assay")


def in_parallel(work: Callable[[One], Other], items: Sequence[One]) -> Iterator[Other]:
    """`work` of every item, in order, on a thread for each core; decoding and hashing release Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for first in range(0, len(items), AT_ONCE):
            yield from pool.map(work, items[first : first + AT_ONCE])


def file_hashes(paths: Sequence[Path], folder: Path | None = None) -> list[str]:
    """SHA-256 (hex) of each file's bytes; raises DataError for one that cannot be read."""
    places = [str(path.absolute()) for path in paths]
    stamps = dict(zip(places, map(_stamp, paths), strict=True))
    with _memory(folder) as memory:
        rows = memory.execute("SELECT path, size, changed, sha256 FROM files")
        known = {path: sha256 for path, size, changed, sha256 in rows if stamps.get(path) == (size, changed)}
    new = [place for place in stamps if place not in known]
    added = dict(zip(new, in_parallel(file_hash, [Path(place) for place in new]), strict=True))
    with _memory(folder) as memory:
        kept = [(place, *stamps[place], sha256) for place, sha256 in added.items()]
        memory.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", kept)
    return [(known | added)[place] for place in places]


def contents(paths: Sequence[Path], folder: Path | None = None) -> list[Content]:
    """What the pixels of each file are; raises DataError for one that cannot be decoded."""
    hashes = file_hashes(paths, folder)
    known = _known(folder)
    new = {sha256: path for sha256, path in zip(hashes, paths, strict=True) if sha256 not in known}
    added = dict(zip(new, in_parallel(content, list(new.values())), strict=True))
    remember(added, folder)
    return [(known | added)[sha256] for sha256 in hashes]


def remember(added: Mapping[str, Content], folder: Path | None = None) -> None:
    """Keep what the pixels of files are, by the SHA-256 of their bytes."""
    rows = [(sha256, DECODE_VERSION, *one) for sha256, one in added.items()]
    with _memory(folder) as memory:
        memory.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?)", rows)


def _known(folder: Path | None) -> dict[str, Content]:
    with _memory(folder) as memory:
        rows = memory.execute("SELECT sha256, content, largest FROM contents WHERE version = ?", (DECODE_VERSION,))
        return {sha256: Content(hash, largest) for sha256, hash, largest in rows}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _memory(folder: Path | None) -> Iterator[sqlite3.Connection]:
    """The memory, open; an empty one that is not kept where the cache folder can't hold it."""
    folder = folder or default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / FILE, timeout=60)
        connection.executescript(SCHEMA)
    except (OSError, sqlite3.Error) as error:
        log.warning("%s cannot be kept (%s); files are read anew each time", folder / FILE, error)
        connection = sqlite3.connect(":memory:")
        connection.executescript(SCHEMA)
    with contextlib.closing(connection), connection:
        yield connection
