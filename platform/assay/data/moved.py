"""Where the images of a stored dataset lie now: a store holds the folder of the day on which it was written.

`NAME=FOLDER`, by `--data` or in ASSAY_DATA, replaces the root of the datasets called NAME; FOLDER may be a URL. Whether
these are the same images is not believed: whoever reads them compares the hash of the data with the stored one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

from assay.contracts import Dataset, Plain
from assay.errors import DataError, InputError

VARIABLE = "ASSAY_DATA"
"""The environment variable with `NAME=FOLDER`, several of them separated like the folders in PATH."""

_TOLD: ContextVar[Mapping[str, str]] = ContextVar("told", default=MappingProxyType({}))

Places = Mapping[str, str | Path] | Sequence[str]
"""Folders by the names of datasets, or `NAME=FOLDER` of each."""


@contextmanager
def told(places: Places) -> Iterator[None]:
    """Within the block, the images of stored datasets lie there; raises InputError for what is no NAME=FOLDER."""
    folders = {name: str(place) for name, place in places.items()} if isinstance(places, Mapping) else _read(places)
    for name, folder in folders.items():
        if "://" not in folder and not Path(folder).expanduser().is_dir():
            raise InputError(f"--data {name}={folder}: there is no such folder")
    before = _TOLD.set({**_TOLD.get(), **folders})
    try:
        yield
    finally:
        _TOLD.reset(before)


def told_now() -> bool:
    """Whether a folder was told for any dataset."""
    return bool(_TOLD.get())


def again(name: str, function: Callable[..., Dataset], arguments: Plain, *, stored: bool = True) -> Dataset:
    """The dataset called `name`, read where its images lie now.

    stored: whether a store names it, with the hash of its images; the variable counts for these alone. Raises
    InputError where a folder was told for another dataset only, DataError where the stored root is gone.
    """
    return function(**found(name, arguments, stored=stored))


def found(name: str, arguments: Plain, *, stored: bool = True) -> Plain:
    """The arguments of `again`, with the root where the images lie now."""
    if "root" not in arguments:
        return arguments
    explicit = _TOLD.get()
    of_all = re.split(rf"{re.escape(os.pathsep)}(?!//)", os.environ.get(VARIABLE, "")) if stored else []
    known = {**_read([pair for pair in of_all if pair]), **explicit}
    if place := known.get(name):
        return {**arguments, "root": place}
    if explicit:
        raise InputError(f"--data {', '.join(explicit)}: this dataset is called {name}; write --data {name}=FOLDER")
    root = arguments["root"]
    if stored and "://" not in root and not Path(root).expanduser().exists():
        raise DataError(
            f"{root}: no such folder. If the images of dataset '{name}' were moved, say where they are "
            f"with --data {name}=FOLDER or {VARIABLE}={name}=FOLDER; others than those are refused by their hash"
        )
    return arguments


def _read(pairs: Sequence[str]) -> dict[str, str]:
    """Folders by name."""
    folders = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise InputError(f"'{pair}': write NAME=FOLDER, NAME as the dataset is called in its YAML file")
        folders[name] = folder
    return folders
