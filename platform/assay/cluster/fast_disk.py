"""The fastest disk of this machine that has room for so many bytes, found by writing to each."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.data import file_facts
from assay.errors import DataError

SPILL = Path("/tmp/ray-spill")
"""Where the cluster files let Ray spill: on AWS the instance's own disk, where it has one."""
WRITTEN = 32 * 2**20
"""Bytes written to each disk to know its speed."""
IN_MEMORY = {"tmpfs", "ramfs"}
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Disk:
    """folder: a folder of this user alone on it. free: bytes. speed: bytes a second, as written and forced down."""

    folder: Path
    free: int
    speed: float


def folders(places: Sequence[Path] | None = None) -> list[Path]:
    """A folder of this user alone in each place that there is and that may be written to, and lies in no memory."""
    given = [SPILL, Path(tempfile.gettempdir()), file_facts.default_folder()] if places is None else places
    memory, found = _in_memory(), []
    for place in given:
        folder = place / f"assay-blocks-{os.getuid()}"
        try:
            if place == file_facts.default_folder():
                place.mkdir(parents=True, exist_ok=True)
            if place.is_dir() and place.stat().st_dev not in memory:
                folder.mkdir(mode=0o700, exist_ok=True)
                if not folder.is_symlink() and folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
                    found.append(folder)
        except OSError:
            continue  # it is read-only, or another's
    return found


def fastest(size: int, places: Sequence[Path] | None = None) -> Disk:
    """The fastest with room for `size` bytes; of several folders on one disk the first. Raises DataError for none."""
    by_device: dict[int, Path] = {}
    for folder in folders(places):
        by_device.setdefault(folder.stat().st_dev, folder)
    free = {folder: shutil.disk_usage(folder).free for folder in by_device.values()}
    disks = [Disk(folder, there, _speed(folder)) for folder, there in free.items() if there > size + WRITTEN]
    if not disks:
        each = [f"{folder} has {there / 1e9:.1f} GB" for folder, there in free.items()]
        told = ", ".join(each) or "none can be written to"
        raise DataError(
            f"no disk of {os.uname().nodename} has room for {size / 1e9:.1f} GB of decoded images ({told} free); free "
            "some, or set ASSAY_CACHE on it to a folder of another disk"
        )
    return max(disks, key=lambda disk: disk.speed)


def _speed(folder: Path) -> float:
    with tempfile.TemporaryFile(dir=folder) as file:
        started = time.monotonic()
        file.write(os.urandom(2**20) * (WRITTEN // 2**20))
        file.flush()
        os.fsync(file.fileno())
        return WRITTEN / (time.monotonic() - started)


def _in_memory() -> set[int]:
    """The devices that are no disks, where the system tells."""
    found = set()
    for line in MOUNTS.read_text(encoding="utf-8").splitlines() if MOUNTS.exists() else []:
        before, _, after = line.partition(" - ")
        if after.split()[0] in IN_MEMORY:
            major, minor = before.split()[2].split(":")
            found.add(os.makedev(int(major), int(minor)))
    return found
