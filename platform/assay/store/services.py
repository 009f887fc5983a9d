"""Which model serves under a name: the newest promotion to it in the register, as `approval.records` wrote it."""

from __future__ import annotations

from assay.errors import DataError, StoreError
from assay.store import formats
from assay.store.store import Store

FOLDER = "register"
PROMOTED = "-promoted-"
"""Part of the names of the records of promotions; they begin with their time."""


def serving(store: Store) -> dict[str, str]:
    """Name -> hash of the model that was promoted to it last, by the records that can be read."""
    return {name: model for name, (model, _) in _holders(store)[0].items()}


def holder(store: Store, name: str) -> str | None:
    """The hash of the model that serves under a name, or None.

    Raises DataError where a later record is damaged: it may be of another model under this name.
    """
    holders, damaged = _holders(store)
    if name not in holders:
        return None
    model, file = holders[name]
    if later := [one for one in damaged if one > file]:
        raise DataError(
            f"{store.place(f'{FOLDER}/{later[0]}')} is damaged, and may be what serves as {name} now; restore it from "
            "a copy, or promote again"
        )
    return model


def _holders(store: Store) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Name -> the model promoted to it last and the record that says so; and the records that cannot be read."""
    holders: dict[str, tuple[str, str]] = {}
    damaged = []
    for file in store.names(FOLDER):
        if PROMOTED not in file or not file.endswith(".json"):
            continue
        key = f"{FOLDER}/{file}"
        try:
            record = store.read_json(key)
            formats.check_content(record, "register", store.place(key))
            holders[str(record["name"])] = str(record["model"]), file
        except formats.NewerFormatError:
            raise
        except (StoreError, DataError, TypeError, KeyError):
            damaged.append(file)
    return holders, damaged
