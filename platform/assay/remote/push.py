"""A folder of images sent to object storage, with a table of hashes by which every later reader knows them again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from assay.data.file_facts import file_hashes
from assay.data.images import refuse_odd_names
from assay.data.masks import named
from assay.errors import DataError
from assay.remote.folder import TABLE, Held, RemoteFolder, written
from assay.store.object_storage import TOGETHER

SETTLE = 1.0
"""Seconds between files and their table: S3 counts in whole ones, and what is older than the table is as it says."""
CHUNK = 1024
"""Files after which the table is written: a push that is interrupted goes on from there."""


@dataclass(frozen=True)
class Pushed:
    """What came of a push. files: in the folder; sent: of them; bytes: sent."""

    url: str
    files: int
    sent: int
    bytes: int


def push(folder: Path, url: str, on_sent: Callable[[int, int], object] = lambda done, total: None) -> Pushed:
    """Send every file of a folder that is not there with the same bytes, then the table of hashes of all.

    Hidden files and folders stay. on_sent: called with how many files of how many were sent. Raises DataError for a
    folder without files, and for a URL below which lies what the folder has not: nothing is deleted there.
    """
    target = RemoteFolder(url)
    paths = _files(folder)
    hashes = dict(zip(paths, file_hashes(list(paths.values())), strict=True))
    held = target.held()
    if strange := sorted(held.objects.keys() - paths.keys()):
        raise DataError(
            f"{target.url} holds {len(strange)} files that {folder} has not: {named(strange)}; delete them there, or "
            "push to a prefix that is empty"
        )
    todo = [key for key in paths if not _equal(key, paths[key], hashes, held)]
    there = {key: hashes[key] for key in paths.keys() - set(todo)}
    with target.explain(), ThreadPoolExecutor(TOGETHER) as pool:
        for start in range(0, len(todo), CHUNK):
            chunk = todo[start : start + CHUNK]
            try:
                list(pool.map(lambda key: target.files.write(key, paths[key].read_bytes()), chunk))
            except BaseException:  # Ctrl-C, too: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            there |= {key: hashes[key] for key in chunk}
            time.sleep(SETTLE)
            target.files.write(TABLE, written(there))
            on_sent(start + len(chunk), len(todo))
        if there != held.hashes and not todo:
            target.files.write(TABLE, written(there))
    return Pushed(target.url, len(paths), len(todo), sum(paths[key].stat().st_size for key in todo))


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the path")
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found = {key: path for key, path in found.items() if not f"/{key}".count("/.") and key != TABLE}
    if not found:
        raise DataError(f"{folder}: there is no file in it; check the path")
    refuse_odd_names(list(found), folder)
    return found


def _equal(key: str, path: Path, hashes: Mapping[str, str], held: Held) -> bool:
    """Whether an object is known to be this file: by size and table, and written before the table was."""
    stamp = held.objects.get(key)
    return (
        stamp is not None
        and stamp.size == path.stat().st_size
        and held.hashes.get(key) == hashes[key]
        and stamp.changed < held.written
    )
