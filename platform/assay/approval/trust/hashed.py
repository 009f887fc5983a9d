"""An audit's folder as it was when its files were hashed: what is read afterwards is what was hashed, or an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.approval import signature
from assay.errors import StoreError
from assay.hashing import digest
from assay.store.store import Store, opened


class HashedFolder(Store):
    """A folder that is near, hashed at once; every later read is held against its hash.

    files: path in the folder -> SHA-256, as `signature.digests` gives them.
    """

    def __init__(self, near: Store) -> None:
        super().__init__(near.path())
        self._near = near
        self.files = signature.digests(near)

    @property
    def root(self) -> str:
        """The folder or URL."""
        return self._near.root

    def place(self, key: str = "") -> str:
        """Where a key lies, as a person is told it."""
        return self._near.place(key)

    def up(self, levels: int) -> Store:
        """The store so many folders above this one."""
        return self._near.up(levels)

    def exists(self, key: str) -> bool:
        """Whether a file or folder of that key was there."""
        return key in self.files or any(name.startswith(f"{key}/") for name in self.files)

    def read(self, key: str) -> bytes:
        """The bytes that were hashed; raises StoreError where the file has others now."""
        content = self._near.read(key)
        if digest(content) != self.files.get(key):
            raise StoreError(f"{self.place(key)} was changed while it was being verified; find out who writes there")
        return content


@contextmanager
def hashed(place: Store | Path) -> Iterator[HashedFolder]:
    """A folder, hashed once for the time of the block; one that is hashed already as it is."""
    if isinstance(place, HashedFolder):
        yield place
        return
    with opened(place).near() as near:
        yield HashedFolder(near)
