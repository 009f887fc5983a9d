"""Folders of images as people leave them: what is read, what is skipped, and what stops the work."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from assay.data.images import SUFFIXES, first_five, image_files, refuse_odd_names
from assay.errors import DataError, InputError

OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")
"""Folders that macOS, a NAS, Windows, Linux and Python leave among others."""


class Inside(NamedTuple):
    """The images of a folder by name, how many other files were skipped, and sentences for the user."""

    files: list[Path]
    skipped: int
    notices: list[str]


def inside(folder: Path) -> Inside:
    """The images directly in a folder of a layout; one without any is left out, and a notice says so.

    Raises DataError as `image_files`, and for sub-folders with images, which nobody would miss until it is too late.
    """
    if nested := [path for path in sub_folders(folder) if _has_images(path)]:
        raise DataError(
            f"{folder}: images lie in its sub-folders {first_five(nested)}; move them up into it, or away: only images "
            "directly in it are read"
        )
    if not any(folder.iterdir()):
        return Inside([], 0, [f"{folder} is empty and left out"])
    files, skipped = image_files(folder)
    return Inside(files, skipped, [])


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and those that systems make.

    Raises DataError for names that are not UTF-8.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in OF_SYSTEMS
    )
    refuse_odd_names([path.name for path in found], folder)
    return found


def refuse_loose(folder: Path) -> None:
    """Raise DataError for images that lie directly in a folder that holds a folder for each kind."""
    loose = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if loose := [path for path in loose if not path.name.startswith(".")]:
        raise DataError(
            f"{folder}: {len(loose)} images lie in no folder of a kind: {first_five(loose)}; move them into one or away"
        )


def as_list(value: str | list[str]) -> list[str]:
    """One name or several."""
    return [value] if isinstance(value, str) else value


def relative(name: str) -> Path:
    """A folder's path below the root; it becomes part of ids, which must not depend on where the data are."""
    if Path(name).is_absolute():
        raise InputError(f"folder '{name}' is absolute; write it relative to root")
    return Path(name)


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.rglob("*"))
