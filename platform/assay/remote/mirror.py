"""A folder in object storage as a folder of this machine, which readers then read: each object is fetched once.

Below the folder of decoded images (ASSAY_CACHE), `remote/objects` holds the bytes, named by their hash, and
`remote/folders` a folder for every state in which a URL was found, of links to them. So a sweep that runs keeps the
images that it began with, and an object that changed is all that is fetched anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from assay.contracts import Plain
from assay.data import file_facts
from assay.data.images import SUFFIXES
from assay.data.masks import named
from assay.errors import DataError
from assay.remote.folder import RemoteFolder, remote
from assay.store.object_storage import TOGETHER, Stamp

log = logging.getLogger(__name__)


@contextmanager
def near(arguments: Plain) -> Iterator[Plain]:
    """The arguments of a dataset, a root in object storage replaced by the folder of this machine that mirrors it.

    Raises DataError for what can't be listed or fetched, objects that are not those of the table, and a full disk; one
    that the block raises about the folder names the URL.
    """
    root = arguments.get("root")
    if not isinstance(root, str) or not remote(root):
        yield arguments
        return
    place = planned(root, arguments.get("category")).made()
    try:
        yield {**arguments, "root": str(place)}
    except DataError as error:
        raise DataError(str(error).replace(str(place), root)) from error


@dataclass(frozen=True)
class Mirror:
    """What is to be done. wanted: objects by key; hashes: of them, by the table; place: the folder that is to be.

    missing: keys of objects that are not on this machine; cache: where they go.
    """

    source: RemoteFolder
    wanted: Mapping[str, Stamp]
    hashes: Mapping[str, str]
    cache: Path
    place: Path
    missing: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What all objects weigh."""
        return sum(stamp.size for stamp in self.wanted.values())

    @property
    def bytes_missing(self) -> int:
        """What is still to come."""
        return sum(self.wanted[key].size for key in self.missing)

    def object(self, key: str) -> Path:
        """Where the bytes of an object lie on this machine: named by their hash, or by the object's size and time."""
        stamp = self.wanted[key]
        known = self.hashes.get(key) or _digest(f"{self.source.url}/{key} {stamp.size} {stamp.changed}")
        return self.cache / "objects" / known[:2] / known

    def fetch(self, keys: Sequence[str]) -> None:
        """Bring these objects here, several at a time."""
        with self.source.explain(), ThreadPoolExecutor(TOGETHER) as pool:
            try:
                list(pool.map(self._one, keys))
            except BaseException:  # Ctrl-C, too: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def made(self) -> Path:
        """The folder, with whatever was missing in it."""
        if self.missing:
            free = shutil.disk_usage(existing(self.cache)).free
            if free < self.bytes_missing:
                raise DataError(
                    f"{self.source.url}: {amount(self.bytes_missing)} are to come, and {self.cache} has room for "
                    f"{amount(free)}; set ASSAY_CACHE to a folder on another disk"
                )
            log.warning(
                "%d files (%s) are fetched from %s into %s",
                len(self.missing), amount(self.bytes_missing), self.source.url, self.cache,
            )  # fmt: skip
            self.fetch(self.missing)
            if not self.hashes and (torn := _changed(self.wanted, self.source.held().objects)):
                raise DataError(
                    f"{self.source.url}: {named(torn)} changed while the images were fetched; wait until whatever "
                    "writes there has ended"
                )
        try:
            for key, stamp in self.wanted.items():
                _link(self.object(key), self.place / key, stamp.size)
        except OSError as error:
            raise _unwritable(self.place, error) from error
        return self.place

    def _one(self, key: str) -> None:
        content, stamp = self.source.files.read(key), self.wanted[key]
        wanted = self.hashes.get(key)
        if len(content) != stamp.size or (wanted and hashlib.sha256(content).hexdigest() != wanted):
            raise DataError(
                f"{self.source.url}/{key} is not what {'its table of hashes says' if wanted else 'was listed'}: it was "
                "changed; restore it, or send the images again with `assay data push`"
            )
        path = self.object(key)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.chmod(0o444)  # it is linked into several folders, and known by its hash
            temporary.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def planned(url: str, category: str | list[str] | None = None) -> Mirror:
    """What mirroring a URL needs, by one listing. category: images of others are left out, unless it is `all`.

    Raises InputError for a URL that is none, DataError where nothing lies there, what lies there can't be listed, or it
    isn't what the table of hashes names.
    """
    source = RemoteFolder(url)
    held = source.held()
    if not held.objects:
        raise DataError(
            f"{source.url}: there is no object below it; look at the dataset's root, or send a folder there with "
            f"`assay data push FOLDER {source.url}`"
        )
    if held.hashes:
        for keys, what in (
            (sorted(held.hashes.keys() - held.objects.keys()), "are in the table of hashes and not there"),
            (sorted(held.objects.keys() - held.hashes.keys()), "are there and not in the table of hashes"),
        ):
            if keys:
                raise DataError(
                    f"{source.url}: {len(keys)} files {what}, such as {keys[0]}: they were added or deleted by "
                    "something else, or are still being sent; send the folder again with `assay data push`"
                )
    wanted = {key: stamp for key, stamp in held.objects.items() if _of(category, key)}
    cache = file_facts.default_folder() / "remote"
    state = "".join(f"{key} {held.hashes.get(key, stamp)}\n" for key, stamp in sorted(wanted.items()))
    place = cache / "folders" / _digest(f"{source.url}\n{state}")[:32] / source.name
    mirror = Mirror(source, wanted, held.hashes, cache, place, ())
    missing = tuple(key for key, stamp in wanted.items() if not _there(mirror.object(key), stamp.size))
    return replace(mirror, missing=missing)


def _of(category: str | list[str] | None, key: str) -> bool:
    """Whether a reader of these categories may need the object: of images, those below a folder of that name."""
    if category is None or category == "all" or not key.lower().endswith(tuple(SUFFIXES)):
        return True
    chosen = [category] if isinstance(category, str) else category
    return any(f"/{one.strip('/')}/" in f"/{key}" for one in chosen)


def _changed(before: Mapping[str, Stamp], now: Mapping[str, Stamp]) -> list[str]:
    return [key for key, stamp in before.items() if now.get(key) != stamp]


def _link(source: Path, target: Path, size: int) -> None:
    """The file under another name as well; a copy where the disk knows no links."""
    if _there(target, size):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}")
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)  # the bytes alone: not every disk takes a file's rights or times
    temporary.replace(target)


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written ({error.strerror}); set ASSAY_CACHE to another folder")


def _there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in [folder, *folder.parents] if path.exists())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def amount(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
