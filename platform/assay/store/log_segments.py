"""One segment of a log, a line at a time: a local file is appended to, in object storage it is written anew.

Object storage cannot append. A segment there is kept small and written whole, at once for what may not be lost, and
for the rest with the next line, or if a second has passed since the last time.
"""

from __future__ import annotations

import os
import time
from typing import IO

from assay.errors import StoreError
from assay.store.store import Store

FULL = 256 * 1024
"""Bytes after which a segment in object storage is followed by another: each line writes all of its segment again."""


class Appended:
    """A segment in a local file."""

    full = False

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        with store.explain(key):
            path = store.path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._file: IO[bytes] = path.open("xb")  # never one that is there: its last line may be cut short
            except (
                FileExistsError
            ) as error:  # on NFS, what another machine wrote in the last minute may not be seen yet
                raise StoreError(
                    f"{path} is there already: the log was read before it was seen that another machine has written "
                    "to it; wait a minute, then run the same command again"
                ) from error
        self._synced = 0.0

    def add(self, line: bytes, urgent: bool) -> None:
        """For any reader when this returns; safe from a power cut, too, if it is urgent, else within a second."""
        with self.store.explain(self.key):
            self._file.write(line)
            self._file.flush()
            if urgent or time.monotonic() - self._synced > 1:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def close(self) -> None:
        """Flush to disk and close."""
        with self.store.explain(self.key):
            os.fsync(self._file.fileno())
            self._file.close()


class Rewritten:
    """A segment in object storage."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self._lines, self._written, self._at = b"", 0, 0.0

    @property
    def full(self) -> bool:
        """Whether the next line begins another segment."""
        return len(self._lines) >= FULL

    def add(self, line: bytes, urgent: bool) -> None:
        """In the store when this returns if it is urgent, else soon."""
        self._lines += line
        if urgent or self.full or time.monotonic() - self._at > 1:
            self.close()

    def close(self) -> None:
        """Write what is not written yet."""
        if len(self._lines) > self._written:
            self.store.write(self.key, self._lines)
            self._written, self._at = len(self._lines), time.monotonic()
