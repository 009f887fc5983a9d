"""The files of a store in a local or mounted folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.errors import InputError, StoreError


class LocalFiles:
    """Files below a folder, by keys with slashes. Raises OSError as the system does."""

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root).expanduser().resolve()
        self.root = str(self.folder)

    def path(self, key: str) -> Path:
        """Where a key lies, whether or not it exists; raises InputError for a key that leaves the folder."""
        path = (self.folder / key).resolve()
        if not path.is_relative_to(self.folder):
            raise InputError(f"'{key}' points outside the store {self.root}; use a plain name")
        return path

    def place(self, key: str) -> str:
        """The path of a key as text."""
        return str(self.path(key))

    def below(self, folder: str) -> str:
        """The root of a store in that folder."""
        return str(self.path(folder))

    def up(self, levels: int) -> str:
        """The root of the store so many folders above."""
        return str([self.folder, *self.folder.parents][min(levels, len(self.folder.parents))])

    def exists(self, key: str) -> bool:
        """Whether there is a file or folder of that key."""
        return self.path(key).exists()

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where there is no such folder."""
        path = self.path(folder)
        return [p.name for p in path.iterdir()] if path.is_dir() else []

    def walk(self, folder: str) -> list[str]:
        """The keys, from `folder` on, of all files below a folder."""
        path = self.path(folder)
        return [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]

    def modified(self, keys: Sequence[str]) -> dict[str, float]:
        """When each of these files was last written, in seconds of the epoch; without those that are not there."""
        paths = {key: self.path(key) for key in keys}
        return {key: path.stat().st_mtime for key, path in paths.items() if path.exists()}

    def stamps(self, folder: str) -> dict[str, tuple[int, float]]:
        """Name -> size and time of the last write of the files in a folder; none where there is no such folder."""
        found: dict[str, tuple[int, float]] = {}
        with suppress(FileNotFoundError), os.scandir(self.path(folder)) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone since it was listed
                    if entry.is_file():
                        found[entry.name] = (entry.stat().st_size, entry.stat().st_mtime)
        return found

    def read(self, key: str) -> bytes:
        """The bytes of a file."""
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        return self.path(key).read_bytes()  # NFS: another machine put a new file in its place while it was read

    def write(self, key: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        path = self._itself(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)

    def remove(self, key: str) -> None:
        """Remove a file if it is there."""
        self._itself(key).unlink(missing_ok=True)

    def _itself(self, key: str) -> Path:
        """Where a key lies, a link there being the link and not the file it leads to.

        Raises InputError, too, where a folder on the way is a link: the file would be another one of the store.
        """
        self.path(key)
        path = Path(os.path.normpath(self.folder / key))
        if path.parent.resolve() != path.parent:
            raise InputError(f"'{key}' lies behind a link within the store {self.root}; put a folder in its place")
        return path

    @contextmanager
    def locked(self, key: str, what: str) -> Iterator[None]:
        """Hold the lock of that key; it ends with the process. Raises StoreError where another process holds it."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:  # the latter from Windows shares; it is open by now
                raise StoreError(f"{what} is running in {self.root}; wait until it ends, or stop it") from error
            except OSError:  # a mounted folder may know no locks; everything works without one
                logging.getLogger(__name__).warning(
                    "%s is on a file system without locks: see to it that nothing else runs %s", self.root, what
                )
            # NFS shows what another machine has put into a folder up to a minute late, unless one changes the folder.
            changed = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            changed.touch()
            changed.unlink()
            yield


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, then rename over it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less what the umask takes away
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
