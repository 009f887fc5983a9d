"""A folder of images in object storage, `s3://bucket/prefix` or `gs://bucket/prefix`: what it holds, and their hashes.

`assay data push` writes a table of hashes beside the images, in the form that `sha256sum -c` reads. A folder that
something else has filled has none; its objects are then told apart by size and time of change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from assay.data.masks import named
from assay.errors import DataError, InputError
from assay.store import error_messages
from assay.store.object_storage import SCHEMES, ObjectFiles, Stamp

TABLE = "assay.sha256"
"""The name of the table of hashes, right below the root."""


def remote(root: str) -> bool:
    """Whether a root is a URL, not a folder of this machine."""
    return "://" in root


class Held(NamedTuple):
    """What a folder holds: objects by key, and the SHA-256 (hex) of each by its table; no hash where there is no table.

    written: when the table was, in nanoseconds of the epoch; 0 without one.
    """

    objects: Mapping[str, Stamp]
    hashes: Mapping[str, str]
    written: int


class RemoteFolder:
    """Objects below a URL. Raises InputError for one that is none, DataError in words for what the service refuses."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES or not rest.strip("/"):
            raise InputError(
                f"images lie in a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, not in {scheme}://{rest}"
            )
        self.files = ObjectFiles(url)
        self.url = self.files.root
        self.name = self.url.rpartition("/")[2]

    def held(self) -> Held:
        """What lies there now; raises DataError for a table that is none."""
        with self.explain():
            objects = self.files.listing()
            table = objects.pop(TABLE, None)
            text = self.files.read(TABLE).decode("utf-8", "replace") if table else ""
        torn = [key for key in objects if any(parent in objects for parent in _parents(key))]
        if torn:
            raise DataError(f"{self.url}: {named(torn)} lie below a key that is itself an object; delete one of them")
        return Held(objects, parsed(text, f"{self.url}/{TABLE}"), table.changed if table else 0)

    @contextmanager
    def explain(self) -> Iterator[None]:
        """Turn an error of the service into a DataError that says what to do."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.url}: {error_messages.of_images(error)}") from error


def parsed(text: str, where: str) -> dict[str, str]:
    """Key -> SHA-256 (hex) of a table; raises DataError for a line that is none."""
    hashes = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if not found:
            raise DataError(f"{where}: line {number} is no hash and name; send the images again with `assay data push`")
        hashes[found[2]] = found[1]
    return hashes


def written(hashes: Mapping[str, str]) -> bytes:
    """A table of hashes."""
    return "".join(f"{hashes[key]}  {key}\n" for key in sorted(hashes)).encode()


def _parents(key: str) -> Iterator[str]:
    while key := key.rpartition("/")[0]:
        yield key
