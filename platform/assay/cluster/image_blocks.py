"""Images for the workers of a sweep: through Ray's object store, or, where they would fill it, in blocks to a disk.

An object larger than the store would lie in a file on whatever disk Ray falls back to, and one that nearly fills it
would push out all else. So such images are sent a block at a time, and the first worker of a node puts them together in
a file on its fastest disk, which all workers of that node map. The file is removed once no process maps it and another
one is written; nothing but the disk's space is lost by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from assay.cluster import fast_disk
from assay.contracts import Images, TrainingData
from assay.errors import DataError

SPLITS = ("train", "validation", "labelled")
SHARE = 0.5
"""Of the smallest object store: more than this goes in blocks."""
BLOCK = 64 * 2**20
"""Bytes of a block, or one image where that is larger."""
WHOLE = "whole"
"""The file that says that all blocks are there; processes that use them hold a lock on it."""


@dataclass(frozen=True)
class Blocks:
    """data: without pixels. pixels: split -> the shape of its images, and its blocks. size: bytes of all of them."""

    name: str
    data: TrainingData
    pixels: Mapping[str, tuple[tuple[int, ...], list[Any]]]
    size: int


def sent(data: TrainingData) -> TrainingData | Blocks:
    """What to give to workers; Ray must be connected."""
    size = data.nbytes
    if size <= SHARE * smallest_store():
        return replace(
            data, train=_plain(data.train), validation=_plain(data.validation), labelled=_plain(data.labelled)
        )
    pixels = {}
    for split in SPLITS:
        whole = getattr(data, split).pixels
        step = max(1, BLOCK // max(1, whole[:1].nbytes))
        pixels[split] = whole.shape, [ray.put(np.array(whole[at : at + step])) for at in range(0, len(whole), step)]
    train, validation, labelled = (_plain(getattr(data, split), without=True) for split in SPLITS)
    bare = replace(data, train=train, validation=validation, labelled=labelled)
    return Blocks(uuid.uuid4().hex, bare, pixels, size)


def smallest_store() -> float:
    """Bytes of the smallest object store of the nodes that there are now."""
    there = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
    return float(min(there, default=0))


def here(data: TrainingData | Blocks) -> TrainingData:
    """The data in this process; raises DataError where no disk has room for them."""
    if not isinstance(data, Blocks):
        return data
    with _alone():
        parent = place(data)
        if parent is None:
            for old in fast_disk.folders():
                _remove_unused(old)
            parent = fast_disk.fastest(data.size).folder
            _put_together(data, parent / data.name)
        folder = parent / data.name
        _held((folder / WHOLE).open("rb"))
    mapped = {
        split: replace(getattr(data.data, split), pixels=np.load(folder / f"{split}.npy", mmap_mode="r"))
        for split, (shape, _) in data.pixels.items()
        if shape[0]
    }
    return replace(data.data, **mapped)


def place(data: TrainingData | Blocks) -> Path | None:
    """The folder of this node in which they are put together; None where they are not, or lie in its object store."""
    name = data.name if isinstance(data, Blocks) else ""
    return next((folder for folder in fast_disk.folders() if name and (folder / name / WHOLE).exists()), None)


_HELD: list[Any] = []
"""Open for as long as this process lives."""


def _held(file: Any) -> None:
    """Keep others from removing what lies beside this file while this process lives."""
    fcntl.flock(file, fcntl.LOCK_SH)
    _HELD.append(file)


def _put_together(data: Blocks, folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        for split, (shape, blocks) in data.pixels.items():
            with (folder / f"{split}.npy").open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for block in blocks:
                    file.write(memoryview(ray.get(block)).cast("B"))
        (folder / WHOLE).touch()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(
            f"{folder}: cannot write {data.size / 1e9:.1f} GB of decoded images there ({error.strerror}); free some "
            "space on that disk, or set ASSAY_CACHE to a folder of another one"
        ) from error


def _remove_unused(parent: Path) -> None:
    """Remove what no process uses any more."""
    for folder in parent.iterdir():
        whole = folder / WHOLE
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if whole.exists():
                fcntl.flock(stack.enter_context(whole.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process of this user on this machine at a time."""
    path = Path(tempfile.gettempdir()) / f"assay-blocks-{os.getuid()}.lock"
    with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _plain(images: Images, *, without: bool = False) -> Images:
    """With plain arrays, which Ray's object store shares between processes without a copy."""
    pixels = np.zeros((0, *images.pixels.shape[1:]), np.uint8) if without else np.array(images.pixels)
    return replace(images, pixels=pixels, labels=np.array(images.labels))
