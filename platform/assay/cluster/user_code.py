"""A user's own modules, named as `module:attribute`: where they are, and what to send to other machines."""

from __future__ import annotations

import os
import sys
from importlib.machinery import SOURCE_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from assay.consent import installed
from assay.errors import InputError
from assay.shelves import FOLDERS, own_modules

OURS = ("assay", "trainables")
"""The packages that are always sent."""


def beside(file: str | Path) -> None:
    """Let `module:attribute` name modules beside a file that the user gave, after all else that can be imported.

    Never for a file of the store: what is there must not be run.
    """
    folder, known = str(Path(file).resolve().parent), os.environ.get(FOLDERS)
    if folder not in (known or "").split(os.pathsep):
        os.environ[FOLDERS] = f"{known}{os.pathsep}{folder}" if known else folder


def to_send() -> list[str]:
    """The source files and package folders that workers of another machine need, a user's own among them.

    A user's own module takes along every module of this process from the same folder, as it may import them. What is
    installed is not sent: every machine must have it already.
    """
    loaded = [place for name in sorted(own_modules()) for place in places(top(name)) if not installed(place)]
    roots = {place.parent for place in loaded}
    beside = [place for name in sorted(_tops() - {*OURS}) for place in places(name) if place.parent in roots]
    ours = [place for name in OURS for place in places(name)[:1]]
    if len(ours) < len(OURS):
        raise InputError(f"the packages {' and '.join(OURS)} cannot be found as files; install Assay again")
    return [str(place) for place in dict.fromkeys([*ours, *loaded, *beside])]


def top(module: str) -> str:
    """The package or module that is found on the path: `a` of `a.b.c`."""
    return module.partition(".")[0]


def places(name: str) -> list[Path]:
    """The source file or the folders of a package; empty for what is built in, compiled or in an archive."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # `__main__`, and what was put among the modules by hand
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [path for text in spec.submodule_search_locations if (path := Path(text).resolve()).is_dir()]
    path = Path(spec.origin or "")
    return [path.resolve()] if path.suffix in SOURCE_SUFFIXES and path.is_file() else []


def _tops() -> set[str]:
    return {name for name in list(sys.modules) if "." not in name and not name.startswith("__")}
