"""Folders of images as people leave them: what is read, what is skipped, and what stops the work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from assay.data.images import SUFFIXES, first_five, image_files, refuse_odd_names
from assay.errors import DataError, InputError

OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")
"""Folders that macOS, a NAS, Windows, Linux and Python leave among others."""


FILES_OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini")
"""Files that Windows leaves among others, in small letters."""


class Inside(NamedTuple):
    """The images of a folder by name, the other files, which were skipped, and sentences for the user."""

    files: list[Path]
    skipped: list[Path]
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
        return Inside([], [], [f"{folder} is empty and left out"])
    files, skipped = image_files(folder)
    return Inside(files, skipped, [])


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and those that systems make.

    Raises DataError for names that are not UTF-8, and for links to nothing, which may have been folders.
    """
    there = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    found = [path for path in there if path.is_dir() and path.name not in OF_SYSTEMS]
    refuse_odd_names([path.name for path in there if path in found or path.is_symlink()], folder)
    links = [path for path in there if path.is_symlink() and path.suffix.lower() not in SUFFIXES]
    if dead := [path for path in links if not path.exists()]:
        raise DataError(
            f"{folder}: {len(dead)} links lead to nothing: {first_five(dead)}; mount the disk or fetch what they name, "
            "or remove the links"
        )
    return found


def about_skipped(files: Sequence[Path]) -> list[str]:
    """A sentence about files that are no images by their names, unless they are hidden or made by a system."""
    told = [file for file in files if not file.name.startswith(".") and file.name.lower() not in FILES_OF_SYSTEMS]
    what = "file without the suffix of an image is" if len(told) == 1 else "files without the suffix of an image are"
    return [f"{len(told)} {what} skipped: {first_five(told)}"] if told else []


def about_unread(folder: Path, read: Iterable[Path]) -> list[str]:
    """A sentence about the folders with images in a folder that are not among those read."""
    known = set(read)
    unread = [path for path in sub_folders(folder) if path not in known and _has_images(path)]
    return [f"{folder}: these of its folders hold images and are not read: {first_five(unread)}"] if unread else []


def refuse_loose(folder: Path) -> None:
    """Raise DataError for images that lie directly in a folder that holds a folder for each kind."""
    loose = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
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
