"""The store: sweeps, models and audits, in one folder or in object storage. Files are written whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assay.config import yaml_file
from assay.errors import InputError, StoreError
from assay.store import error_messages
from assay.store.local import LocalFiles
from assay.store.local import write_whole as write_whole
from assay.store.locks.lease import Lease
from assay.store.object_storage import TOGETHER, ObjectFiles


class Store:
    """Files addressed by keys such as `models/<hash>/manifest.json`, below a folder, `s3://...` or `gs://...`.

    A folder of a store is a store (`below`). Names that begin with a dot are hidden. Raises StoreError, with what to
    do, where something cannot be read or written.
    """

    def __init__(self, root: str | Path) -> None:
        text = str(root)
        if text.partition(":/")[0] in ("s3", "gs") and "://" not in text:
            raise InputError(f"store '{text}': a slash is missing, write {text.replace(':/', '://', 1)}")
        self._files = ObjectFiles(text) if "://" in text else LocalFiles(root)
        self._leases: list[Lease] = []  # held now; those of a folder of this store are the same
        self._origin: Store | None = None  # of a copy: what it is a copy of

    @property
    def root(self) -> str:
        """The folder or URL."""
        return self._origin.root if self._origin else self._files.root

    @property
    def name(self) -> str:
        """The name of the folder, which of an audit or a model is that of what it holds."""
        return self.place().rpartition("/")[2]

    @property
    def local(self) -> bool:
        """Whether its files can be opened by their paths."""
        return isinstance(self._files, LocalFiles)

    def path(self, key: str = "") -> Path:
        """Where a key lies on disk, whether or not it exists; refused where the store is in object storage."""
        if not isinstance(self._files, LocalFiles):
            raise InputError(f"{self.place(key)} has no path on this machine")
        return self._files.path(key)

    def place(self, key: str = "") -> str:
        """Where a key lies, as a person is told it: a path or a URL. A key that leaves the store is refused."""
        return self._origin.place(key) if self._origin else self._files.place(key)

    def below(self, folder: str) -> Store:
        """A folder of this store as a store."""
        part = Store(self._files.below(folder))
        part._leases = self._leases
        return part

    def up(self, levels: int) -> Store:
        """The store so many folders above this one."""
        return self._origin.up(levels) if self._origin else Store(self._files.up(levels))

    @contextmanager
    def near(self, folder: str = "") -> Iterator[Store]:
        """A folder of this store, to be read again and again or by path: itself, or a copy for the time of the block.

        What is written to the copy, or removed from it, is so in the store, too.
        """
        part = self.below(folder)
        if not isinstance(part._files, ObjectFiles):
            yield self if not folder else part
            return
        with tempfile.TemporaryDirectory(prefix="assay-") as scratch:
            with self.explain(folder):
                part._files.fetch(Path(scratch))
            copy = Store(scratch)
            copy._origin = part
            yield copy

    def exists(self, key: str) -> bool:
        """Whether a file or folder of that key exists."""
        with self.explain(key):
            return self._files.exists(key)

    def names(self, folder: str = "") -> list[str]:
        """The sorted names in a folder; empty if there is no such folder. Unfinished files are left out."""
        with self.explain(folder):
            return sorted(name for name in self._files.names(folder) if not name.startswith("."))

    def walk(self, folder: str = "") -> list[str]:
        """The sorted keys, from `folder` on, of all files below it; hidden ones left out, and hidden folders."""
        with self.explain(folder):
            return sorted(key for key in self._files.walk(folder) if not f"/{key}".count("/."))

    def modified(self, keys: Sequence[str]) -> dict[str, float]:
        """When each of these files was last written (seconds of the epoch); without those that are not there."""
        with self.explain(keys[0] if keys else ""):
            return self._files.modified(keys)

    def stamps(self, folder: str) -> dict[str, tuple[int, float]]:
        """Name -> size in bytes and time of the last write of the files in a folder: what changed is seen by them."""
        with self.explain(folder):
            found = self._files.stamps(folder)
        return {name: found[name] for name in sorted(found) if not name.startswith(".")}

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises StoreError where it is missing or cannot be read."""
        with self.explain(key):
            return self._files.read(key)

    def read_all(self, keys: Sequence[str]) -> list[bytes]:
        """The bytes of many small files, which object storage is asked for together."""
        if self.local:
            return [self.read(key) for key in keys]
        with ThreadPoolExecutor(TOGETHER) as pool:
            return list(pool.map(self.read, keys))

    def write(self, key: str, content: bytes) -> None:
        """Write a file whole or not at all: a reader sees the old content or the new, never a part."""
        with self.explain(key):
            self._confirm()
            if self._origin:
                self._origin.write(key, content)
            self._files.write(key, content)

    def remove(self, key: str) -> None:
        """Remove a file if it is there."""
        with self.explain(key):
            self._confirm()
            if self._origin:
                self._origin.remove(key)
            self._files.remove(key)

    def _confirm(self) -> None:
        """Raise StoreError where another process has taken a lease over that this one believed to hold."""
        for held in self._leases:
            held.confirm()

    def read_json(self, key: str) -> Any:
        """The content of a JSON file; raises StoreError where it is not JSON."""
        try:
            return json.loads(self.read(key))
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.place(key)} is not valid JSON ({error}); it was damaged or cut short") from error

    def read_yaml(self, key: str) -> dict[str, Any]:
        """The mapping in a YAML file, without tags and without aliases that grow; raises StoreError."""
        try:
            return yaml_file.written(self.read(key), "its content")
        except InputError as error:
            why = " ".join(str(error).split())
            raise StoreError(f"{self.place(key)} is not valid YAML ({why}); it was damaged or cut short") from error

    def require_writable(self) -> None:
        """Write a small file and remove it, so that a place that cannot be written is known before work begins."""
        try:
            self.write(".writable", b"Assay looked whether this place can be written.\n")
            self.remove(".writable")
        except StoreError as error:
            if self.local and isinstance(error.__cause__, FileNotFoundError):
                why = "cannot be made; give another folder with --store"
                raise StoreError(f"the store {self.root} {why}") from error
            raise

    @contextmanager
    def locked(self, key: str, what: str) -> Iterator[None]:
        """Hold a lock for the time of the block; it ends with the process, however that ends.

        In object storage it is a lease, which lapses half a minute after the process has ended; `locks.lease` says what
        it cannot promise. Raises StoreError where another process holds it. what: what that process does, for the
        message.
        """
        lock = self._files.locked(key, what)
        with self.explain(key):
            held = lock.__enter__()
        if held is not None:
            self._leases.append(held)
        try:
            yield
        finally:
            if held is not None:
                self._leases.remove(held)
            lock.__exit__(None, None, None)

    @contextmanager
    def explain(self, key: str) -> Iterator[None]:
        """Turn an OSError about `key` into a StoreError that says what to do."""
        try:
            yield
        except OSError as error:
            advise = error_messages.advice if self.local and not self._origin else error_messages.of_object_storage
            raise StoreError(f"{self.place(key)}: {advise(error)}") from error


def opened(place: Store | Path | str) -> Store:
    """A store, or the store of that folder or URL."""
    return place if isinstance(place, Store) else Store(place)
