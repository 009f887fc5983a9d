"""The version of the format of every artefact: which one is written, which ones are read, what is said of a newer one.

A version is a number that counts up when a reader of the former one would misunderstand what is written. It stands in
the artefact itself, under `format`; in a Parquet table in the metadata of its file, under `assay.format`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay import __version__
from assay.errors import DataError, ModelError

FIELD, TABLE_FIELD = "format", b"assay.format"
FIRST = 1
"""The version of what says none: it was written before artefacts said theirs."""

READ: Mapping[str, tuple[int, ...]] = {
    "model": (1,),  # manifest.json
    "log": (1,),  # the first line of a segment
    "audit": (1,),  # audit.yaml
    "verdict": (1,),
    "review": (1,),
    "register": (1,),
    "comparison": (1,),
    "published": (1,),
    "export": (1,),  # the sidecar of an exported file
    "table": (1,),  # every Parquet file
}
"""Kind of artefact -> the versions that are read, the oldest first; the last one is written."""


class NewerFormatError(DataError):
    """What a newer version of Assay wrote: it is not damaged, and is never passed over."""


def written(kind: str) -> int:
    """The version that is written."""
    return READ[kind][-1]


def check(version: Any, kind: str, place: str) -> None:
    """Raises DataError (of a model ModelError) unless `version`, that of the file at `place`, is read."""
    known = READ[kind]
    if type(version) is int and version in known:
        return
    reads = f"this version of Assay ({__version__}) reads format {', '.join(map(str, known))}"
    if type(version) is int and version > known[-1]:
        newer = ModelError if kind == "model" else NewerFormatError
        raise newer(f"{place} has format {version}; {reads}: install a newer Assay")
    damaged = ModelError if kind == "model" else DataError
    raise damaged(f"{place} is damaged: it has format {version!r}, and {reads}; restore it from a copy")


def check_content(content: Any, kind: str, place: str) -> None:
    """As `check`, of the content of a JSON or YAML file."""
    if isinstance(content, Mapping):
        check(content.get(FIELD, FIRST), kind, place)


def check_table(metadata: Mapping[bytes, bytes] | None, place: str) -> None:
    """As `check`, of the metadata of a Parquet file."""
    version = (metadata or {}).get(TABLE_FIELD)
    if version is not None:
        check(int(version) if version.isdigit() else version.decode(errors="replace"), "table", place)
