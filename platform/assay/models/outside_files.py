"""Reads the files of a detector from outside: its own, and those beside it that hold its weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from assay import shelves
from assay.errors import InputError, ModelError

LARGEST = 2**32
"""Bytes of one file: more would not fit into memory twice, as loading one takes."""


class Files(NamedTuple):
    """content: of the detector's own file. sides: its side files by their names in the model folder."""

    content: bytes
    sides: dict[str, bytes]


def read(path: Path, kind: str) -> Files:
    """The files of a detector of that kind (a loader).

    Raises InputError for a file that is missing or cannot be read, ModelError for one that names side files anywhere
    but beside itself.
    """
    content = _bytes(path)
    needed = shelves.stated(shelves.load("loaders", kind), "SIDES", None)
    try:
        names = needed(content, path.name) if needed else {}
    except ModelError as error:
        raise ModelError(f"{path.name} {error}") from error
    return Files(content, {name: _beside(path, file) for name, file in names.items()})


def _beside(path: Path, file: str) -> bytes:
    """A file in the folder of `path`; a link that leads out of it is refused, as its bytes would go into the store."""
    side, folder = path.parent / file, path.parent.resolve()
    if Path(file).name != file or side.resolve().parent != folder:
        raise ModelError(f"{path.name} keeps weights in '{file[:80]}'; side files must lie beside it, in {folder}")
    if not side.is_file():
        raise InputError(f"{path} keeps its weights in {file}, which is not in {folder}; copy it there")
    return _bytes(side)


def _bytes(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(f"{path} has {size / 2**30:.3g} GB; at most {LARGEST >> 30} GB are read")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
