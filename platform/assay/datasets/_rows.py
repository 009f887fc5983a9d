"""What a reader returns: a table with a row for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One image of a layout. id: relative to the root. kind: of the defect; of normals it doesn't matter.

    split: the published one, or None where the layout has none. stratum: any text; images of one stratum are shared out
    together, by default those of one kind and one published split. category: where a dataset has several.
    """

    id: str
    path: Path
    label: int
    kind: str = "normal"
    split: Literal["train", "validation", "test"] | None = None
    group: str | None = None
    masks: tuple[Path, ...] = ()
    stratum: str = ""
    category: str | None = None


@dataclass(frozen=True)
class Table:
    """What a reader found. notes: counts for the manifest. notices: sentences for the user.

    mask_above: the strength above which a pixel is marked, where the layout states it. distinct: it is known that no
    two images are the same picture, so that none is decoded to find out.
    """

    name: str
    rows: Sequence[Row]
    licence: str = "unknown"
    notes: dict[str, int | str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    mask_above: int | None = None
    distinct: bool = False
