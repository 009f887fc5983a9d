"""Several categories of a set as one dataset, for one model over all of them (the unified setting).

Source: You et al., A Unified Model for Multi-class Anomaly Detection, NeurIPS 2022.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from assay.contracts import Plain
from assay.data.masks import named
from assay.datasets._rows import Row, Table
from assay.errors import DataError, InputError

Lister = Callable[[Plain], list[str]]
"""The arguments of a reader -> the categories that there are."""
ALL = "all"


def widened(hints: Plain, categories: Lister | None) -> Plain:
    """The annotations of a reader of one category, which then takes several."""
    return {**hints, "category": hints["category"] | list[str]} if categories else hints


def combined(read: Callable[..., Table], categories: Lister, values: Plain) -> Table:
    """What a reader finds in the category, the list of categories or, with `all`, every category that it is given.

    Of several, ids, kinds and groups begin with the category. Raises InputError for an empty list and one that names a
    category twice, DataError where `all` finds none.
    """
    wanted = values.get("category")
    there = categories(values) if wanted == ALL else []
    if wanted == ALL and not there:
        raise DataError(f"{values['root']}: no category in it; check the root")
    if wanted == [] or (isinstance(wanted, list) and len(set(wanted)) < len(wanted)):
        raise InputError(f"category: {named(wanted) or 'an empty list'}; name every category once, or all")
    if not isinstance(wanted, list) and wanted != ALL:
        return read(**values)
    chosen = there or wanted
    if len(chosen) == 1:
        return read(**{**values, "category": chosen[0]})
    tables = [(name, read(**{**values, "category": name})) for name in chosen]
    notes: dict[str, int | str] = {"categories": ", ".join(chosen)}
    for _, table in tables:
        for key, value in table.notes.items():
            before = notes.get(key, 0)
            notes[key] = before + value if isinstance(before, int) and isinstance(value, int) else f"{before}; {value}"
    rows = [_of(row, name) for name, table in tables for row in table.rows]
    first = tables[0][1]
    root = Path(values["root"]).expanduser().resolve().name
    return Table(
        name=f"{root}-{ALL}" if wanted == ALL else "+".join(chosen),
        rows=rows,
        licence=first.licence,
        notes=notes,
        notices=tuple(f"{name}: {notice}" for name, table in tables for notice in table.notices),
        mask_above=first.mask_above,
        distinct=all(table.distinct for _, table in tables),
    )


def _of(row: Row, category: str) -> Row:
    return dataclasses.replace(row, id=f"{category}/{row.id}", kind=f"{category}/{row.kind}", category=category)
