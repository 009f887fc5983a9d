"""The search spaces that come with Assay, which have a name: `assay sweep demo` works in any folder."""

from __future__ import annotations

from pathlib import Path

import assay
from assay.errors import UnknownName

PACKAGE = Path(assay.__file__).parent


def files() -> dict[str, Path]:
    """Name -> file; in a checkout they lie beside the packages, in a wheel within."""
    places = (PACKAGE / "search_spaces", PACKAGE.parents[1] / "search_spaces")
    folder = next((place for place in places if place.is_dir()), places[0])
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def located(path: str | Path) -> Path:
    """The file of a shipped name; any other path as it is.

    Raises UnknownName for a single word that is neither a file or folder here nor shipped.
    """
    given = Path(path)
    if given.suffix or len(given.parts) != 1 or given.exists():
        return given
    shipped = files()
    if given.name not in shipped:
        raise UnknownName("search space", given.name, [*shipped, "a path to a YAML file"])
    return shipped[given.name]
