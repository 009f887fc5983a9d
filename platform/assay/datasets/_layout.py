"""Layouts in which a folder is a split and a kind, with masks of the same names in a folder elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

from assay.contracts import Plain
from assay.data import masks
from assay.data.images import SUFFIXES, refuse_odd_names
from assay.datasets._folders import about_skipped, inside, sub_folders
from assay.datasets._rows import Row, Table


class Found:
    """The rows of folders added one by one, and what was met in them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.skipped: list[Path] = []
        self.notices: list[str] = []

    def add(
        self,
        base: Path,
        folder: str,
        split: Literal["train", "validation", "test"],
        kind: str | None = None,
        marked_in: Path | None = None,
        *,
        group: Callable[[Path], str] | None = None,
        wanted: Callable[[Path], bool] = lambda file: True,
    ) -> None:
        """Add the wanted images in a folder below base: of a kind of defect, or normals.

        marked_in: the folder of the masks of anomalies. group: of an image file. Raises DataError as `inside`.
        """
        files, skipped, notices = inside(base / folder)
        self.skipped += skipped
        self.notices += notices
        files = [file for file in files if wanted(file)]
        marked = masks.by_name(marked_in, [file.stem for file in files]) if kind and marked_in else {}
        self.rows += [
            Row(
                file.relative_to(base).as_posix(),
                file,
                int(kind is not None),
                kind or "normal",
                split,
                group(file) if group else None,
                tuple(marked.get(file.stem, ())),
                stratum=folder,
            )
            for file in files
        ]

    def note_strays(self, folder: Path) -> None:
        """A notice of files in and below a folder of masks that are the mask of no image which was added."""
        self.notices += about_strays(folder, {mask for row in self.rows for mask in row.masks})

    def table(self, name: str, licence: str = "unknown", mask_above: int | None = None) -> Table:
        """What was added, as a table."""
        notices = (*self.notices, *about_skipped(self.skipped))
        return Table(name, self.rows, licence, {"files_skipped": len(self.skipped)}, notices, mask_above)


def about_strays(folder: Path, used: AbstractSet[Path]) -> list[str]:
    """A sentence about the files in and below a folder of masks that are not among those used.

    Raises DataError for names that are not UTF-8.
    """
    there = sorted(folder.rglob("*"))
    refuse_odd_names([path.relative_to(folder).as_posix() for path in there], folder)
    strays = [
        path.relative_to(folder).as_posix()
        for path in there
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path not in used
    ]
    return [f"{len(strays)} files in {folder.name} are the mask of no image: {masks.named(strays)}"] if strays else []


def holding(*needed: str) -> Callable[[Plain], list[str]]:
    """What lists the categories below a root: the folders that hold any of some folders.

    One that lacks the others is half a category, which its reader refuses by name: left out, nobody would miss it.
    """

    def categories(values: Plain) -> list[str]:
        base = Path(values["root"]).expanduser()
        folders = sub_folders(base) if base.is_dir() else []
        return [folder.name for folder in folders if any((folder / name).is_dir() for name in needed)]

    return categories
