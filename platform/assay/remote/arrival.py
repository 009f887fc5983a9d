"""What the images of a dataset in object storage weigh, where they go, and how long they take to arrive."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from assay.contracts import Plain
from assay.remote.folder import remote
from assay.remote.mirror import amount, existing, planned

FEW = 48
"""Files fetched to measure: three for each of those that are fetched together."""


@dataclass(frozen=True)
class Arrival:
    """files, bytes: of all images, masks and tables; to_come: bytes not on this machine; folder: where they go.

    free: bytes on its disk. seconds: until all are here, None where nothing is to come.
    """

    url: str
    files: int
    bytes: int
    to_come: int
    folder: Path
    free: int
    seconds: float | None

    def text(self) -> str:
        """One line."""
        told = f"images: {self.files} files, {amount(self.bytes)}, in {self.url}"
        if self.seconds is None:
            return f"{told}; all are in {self.folder} already"
        return (
            f"{told}; {amount(self.to_come)} are to come into {self.folder} ({amount(self.free)} free), about "
            f"{self.seconds:.0f} s at the speed of a few"
        )


def arrival(arguments: Plain) -> Arrival | None:
    """Of the arguments of a dataset; None where its root is in no object storage. A few files are fetched, and kept.

    Raises as `mirror.near`.
    """
    root = arguments.get("root")
    if not isinstance(root, str) or not remote(root):
        return None
    mirror = planned(root, arguments.get("category"))
    seconds = None
    if mirror.missing:
        few = mirror.missing[:: max(1, len(mirror.missing) // FEW)][:FEW]
        started = time.monotonic()
        mirror.fetch(few)
        taken = time.monotonic() - started
        seconds = taken * mirror.bytes_missing / max(1, sum(mirror.wanted[key].size for key in few))
    free = shutil.disk_usage(existing(mirror.cache)).free
    return Arrival(
        mirror.source.url, len(mirror.wanted), mirror.bytes, mirror.bytes_missing, mirror.cache, free, seconds
    )
