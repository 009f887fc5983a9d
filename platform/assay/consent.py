"""Which modules may be imported: those that the user names, and by the word of a store only the user's own files.

A `module:attribute` in a store was written by whoever wrote the store. By its word a module is imported where it is a
file of the user's own (not installed, not of Python itself), or where the user allowed it: with `--allow-import`, with
`allow_import`, or by naming it in the same command. A module that lies in a store is never imported, whoever names it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from assay.errors import InputError

ALLOWED = "ASSAY_ALLOW_IMPORT"
"""The environment variable with the modules that a store may name, by commas; workers get it, too."""
OF_A_STORE = ("models/*/manifest.json", "audits/*/audit.yaml", "sweeps/*/spec.yaml")
"""What makes a folder a store."""
OURS = ("assay.studies.finished_model:FinishedModel",)
"""What Assay itself writes into a store: it runs nothing that is not checked in its turn."""
_BY_A_STORE: ContextVar[bool] = ContextVar("by_a_store", default=False)


@contextmanager
def word_of_a_store() -> Iterator[None]:
    """Within the block, names of modules come from a store and not from the user."""
    before = _BY_A_STORE.set(True)
    try:
        yield
    finally:
        _BY_A_STORE.reset(before)


def allow(modules: Iterable[str]) -> None:
    """Let a store name these modules, and all below them, in this process and those it starts."""
    known = [name for name in os.environ.get(ALLOWED, "").split(",") if name]
    names = [name.partition(":")[0] for name in modules]
    if names:
        os.environ[ALLOWED] = ",".join(dict.fromkeys([*known, *names]))


def check(name: str) -> None:
    """Raise InputError for a `module:attribute` that must not be imported. Imports nothing itself."""
    if name in OURS:
        return
    module = name.partition(":")[0]
    places = list(_places(module))
    for place in places:
        if in_a_store(place):
            raise InputError(f"'{name}' lies in a store ({place}); nothing of a store is run: keep it elsewhere")
    if places and not any(map(installed, places)):
        return
    if not places and module.partition(".")[0] not in sys.modules and next(_specs(module), None) is None:
        return  # there is no such module, as the import is going to say
    if not _BY_A_STORE.get():
        allow([module])
    elif not _allowed(module):
        whose = "is installed code" if places else "is no file of your own"
        raise InputError(
            f"the store names '{name}', which {whose}; if it is to be run, allow it: --allow-import {module}"
        )


def source(name: str) -> Path | None:
    """The file that holds a `module:attribute`, found without importing it; None where there is none."""
    module = name.partition(":")[0]
    specs = list(_specs(module))
    last = specs[-1] if specs else None
    return Path(last.origin) if last and last.name == module and last.has_location and last.origin else None


def in_a_store(place: Path) -> bool:
    """Whether a file or folder is a store or lies in one, by its path as it is and by where its links lead."""
    folders = dict.fromkeys(
        folder for path in (place.absolute(), place.resolve()) for folder in (path, *path.parents) if folder.is_dir()
    )
    return any(True for folder in folders for pattern in OF_A_STORE for _ in folder.glob(pattern))


def _allowed(module: str) -> bool:
    names = os.environ.get(ALLOWED, "").split(",")
    return any(name and (module == name or module.startswith(f"{name}.")) for name in names)


def _places(module: str) -> Iterator[Path]:
    """Every file and folder that an import of the module looks at or runs."""
    for spec in _specs(module):
        if spec.has_location and spec.origin:
            yield Path(spec.origin)
        with suppress(KeyError):  # see _specs
            yield from map(Path, spec.submodule_search_locations or [])


def _specs(module: str) -> Iterator[ModuleSpec]:
    """Where each part of `a.b.c` is found; ends at the first that is not."""
    folders: list[str] = []
    for count in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:count])
        try:
            spec = importlib.util.find_spec(name) if count == 1 else PathFinder.find_spec(name, folders)
            if spec is None:
                return
            yield spec
            if spec.submodule_search_locations is None:
                return
            folders = list(spec.submodule_search_locations)
        except KeyError:  # a folder without __init__.py, within a package that is not imported yet
            folders = [str(path) for folder in folders if (path := Path(folder, name.rpartition(".")[2])).is_dir()]
        except (ImportError, ValueError):  # `__main__`, and what was put among the modules by hand
            return


def installed(place: Path) -> bool:
    """Whether a module at that place came with Python or was installed."""
    libraries = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    place = place.resolve()
    return any(part in ("site-packages", "dist-packages") for part in place.parts) or any(
        place.is_relative_to(folder) for folder in libraries
    )
