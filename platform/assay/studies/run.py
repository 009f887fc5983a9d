"""Runs what of a study is missing: a cell is a sweep of the store, begun, gone on with, or left as it is."""

from __future__ import annotations

from collections.abc import Callable

from assay.cluster.connection import connected
from assay.errors import AssayError, StoreError
from assay.store import trial_log, trials_table
from assay.store.store import Store
from assay.studies import results
from assay.studies.results import Result
from assay.studies.study_file import Cell, Study
from assay.sweeps import sweep
from assay.sweeps.study import Study as SweepStudy


def run(
    study: Study, store: Store, *, address: str | None = None, say: Callable[[str], object] = lambda _: None
) -> tuple[list[Result], str]:
    """Run the cells one after the other on one Ray cluster, and return their results and why they ended early, if so.

    A cell that cannot run is a line of the result, and the others go on. Raises StoreError if the store cannot be
    written, SweepError if no Ray can be had.
    """
    store.require_writable()
    errors: dict[str, str] = {}
    interrupted = ""
    with store.locked(f"studies/.{study.name}.lock", f"study '{study.name}'"):
        missing = [cell for cell in study.cells if not ended(store, cell)]
        say(f"study {study.name}: {len(study.cells)} cells, {len(study.cells) - len(missing)} have ended")
        if missing:
            with connected(address):
                for place, cell in enumerate(missing, 1):
                    what = f"{cell.detector} on {cell.dataset}, seed {cell.seed}"
                    error, interrupted = _cell(store, cell, address)
                    if error:
                        errors[cell.spec.name] = error
                    outcome = results.of_cell(store, cell, error)
                    figures = "  ".join(f"{name} {value:.3f}" for name, value in outcome.values.items())
                    say(f"{place}/{len(missing)}  {what}: {figures or outcome.missing}")
                    if interrupted:
                        break
        found = [results.of_cell(store, cell, errors.get(cell.spec.name, "")) for cell in study.cells]
        results.write(store, study, found)
    return found, interrupted


def ended(store: Store, cell: Cell) -> bool:
    """Whether nothing of a cell is left to run."""
    name = cell.spec.name
    if not store.exists(f"sweeps/{name}/spec.yaml") or trials_table.stored_spec(store, name).hash != cell.spec.hash:
        return False
    return SweepStudy(cell.spec, store, trial_log.read(store, name)).ended


def _cell(store: Store, cell: Cell, address: str | None) -> tuple[str, str]:
    """What stopped a cell, and what interrupted it."""
    try:
        resume = store.exists(f"sweeps/{cell.spec.name}/spec.yaml")
        why = sweep.run(cell.spec, store, resume=resume, address=address).interrupted
        return ("", "") if why in ("", "budget") else ("was interrupted", why)
    except StoreError:
        raise
    except AssayError as error:
        return str(error), ""
