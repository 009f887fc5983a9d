"""One cell of a study: a sweep of the store that is begun, gone on with, or left as it is."""

from __future__ import annotations

from assay.errors import AssayError, StoreError
from assay.store import trial_log, trials_table
from assay.store.store import Store
from assay.studies.study_file import Cell
from assay.sweeps import sweep
from assay.sweeps.study import Study


def run(cell: Cell, root: str, address: str | None = None) -> tuple[str, str]:
    """What stopped a cell, "" if nothing did, and what interrupted it; raises StoreError."""
    store = Store(root)
    try:
        resume = store.exists(f"sweeps/{cell.spec.name}/spec.yaml")
        why = sweep.run(cell.spec, store, resume=resume, address=address).interrupted
        return ("", "") if why in ("", "budget") else ("was interrupted", why)
    except StoreError:
        raise
    except AssayError as error:
        return str(error), ""


def ended(store: Store, cell: Cell) -> bool:
    """Whether nothing of a cell is left to run."""
    name = cell.spec.name
    if not store.exists(f"sweeps/{name}/spec.yaml") or trials_table.stored_spec(store, name).hash != cell.spec.hash:
        return False
    return Study(cell.spec, store, trial_log.read(store, name)).ended
