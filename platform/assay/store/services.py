"""Which model serves under a name: the newest promotion to it in the register, as `approval.records` wrote it."""

from __future__ import annotations

from assay.errors import DataError
from assay.store import formats
from assay.store.store import Store

FOLDER = "register"
PROMOTED = "-promoted-"
"""Part of the names of the records of promotions; they begin with their time."""


def serving(store: Store) -> dict[str, str]:
    """Name -> hash of the model that was promoted to it last; raises DataError for a damaged record."""
    holders: dict[str, str] = {}
    for file in store.names(FOLDER):
        if PROMOTED not in file or not file.endswith(".json"):
            continue
        key = f"{FOLDER}/{file}"
        record = store.read_json(key)
        formats.check_content(record, "register", store.place(key))
        try:
            holders[str(record["name"])] = str(record["model"])
        except (TypeError, KeyError) as error:
            raise DataError(f"{store.place(key)} is damaged: it names no model; restore it from a copy") from error
    return holders
