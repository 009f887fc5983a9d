"""The store: one folder that holds sweeps, models and audits. Files are written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assay.errors import InputError, StoreError


class Store:
    """A local folder addressed by keys such as `models/<hash>/manifest.json`.

    Raises StoreError, with what to do, where the folder cannot be read or written or the disk is full.
    """

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise InputError(f"store '{root}' is a URL; only a local or mounted folder can be a store, give its path")
        self.root = Path(root).expanduser().resolve()

    def path(self, key: str) -> Path:
        """Where a key lies on disk, whether or not it exists; a key that leaves the store is refused."""
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root):
            raise InputError(f"'{key}' points outside the store {self.root}; use a plain name")
        return path

    def exists(self, key: str) -> bool:
        """Whether a file or folder of that key exists."""
        return self.path(key).exists()

    def names(self, folder: str) -> list[str]:
        """The sorted names in a folder; empty if there is no such folder. Unfinished files are left out."""
        path = self.path(folder)
        with self.explain(folder):
            return sorted(p.name for p in path.iterdir() if not p.name.startswith(".")) if path.is_dir() else []

    def read(self, key: str) -> bytes:
        """The bytes of a file; raises StoreError where it is missing or cannot be read."""
        with self.explain(key):
            return self.path(key).read_bytes()

    def write(self, key: str, content: bytes) -> Path:
        """Write a file whole or not at all: a reader sees the old content or the new, never a part."""
        path = self.path(key)
        with self.explain(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        return path

    def remove(self, key: str) -> None:
        """Remove a file if it is there."""
        with self.explain(key):
            self.path(key).unlink(missing_ok=True)

    def read_json(self, key: str) -> Any:
        """The content of a JSON file; raises StoreError where it is not JSON."""
        try:
            return json.loads(self.read(key))
        except ValueError as error:
            raise StoreError(f"{self.path(key)} is not valid JSON ({error}); it was damaged or cut short") from error

    @contextmanager
    def locked(self, key: str, what: str) -> Iterator[None]:
        """Hold a lock for the time of the block; it ends with the process, however that ends.

        Raises StoreError where another process holds it. what: what that process does, for the message.
        """
        path = self.path(key)
        with self.explain(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(f"{what} is running in {self.root}; wait until it ends, or stop it") from error
            except OSError:
                pass  # a mounted folder may know no locks; everything works without one
            yield

    @contextmanager
    def explain(self, key: str) -> Iterator[None]:
        """Turn an OSError about `key` into a StoreError that says what to do."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.path(key)}: {_advice(error)}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, then rename over it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def canonical(value: Any) -> bytes:
    """The one JSON text of a plain value, for hashing: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk; free some and run the same command again, what was written is kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "not allowed to read or write here; give another folder with --store or change its permissions"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "a file is where a folder is wanted, or a folder where a file is; give another folder with --store"
    if error.errno == errno.ENOENT:
        return "there is no such file; look at what the store holds with `assay trials` or `ls`"
    return f"{error.strerror or error}; check the disk, then run the same command again"
