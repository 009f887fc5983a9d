"""Runs what of a study is missing, and writes its table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from assay.store.store import Store
from assay.studies import cell_run, in_parallel, results
from assay.studies.results import Result
from assay.studies.study_file import Cell, Study


def run(
    study: Study, store: Store, *, address: str | None = None, say: Callable[[str], object] = lambda _: None
) -> tuple[list[Result], str]:
    """Run the cells on one Ray cluster, and return their results and why they ended early, if so.

    A cell that cannot run is a line of the result, and the others go on. Raises StoreError if the store cannot be
    written, SweepError if no Ray can be had.
    """
    store.require_writable()
    errors: dict[str, str] = {}
    place = count(1)
    with store.locked(f"studies/.{study.name}.lock", f"study '{study.name}'"):
        missing = [cell for cell in study.cells if not cell_run.ended(store, cell)]
        say(f"study {study.name}: {len(study.cells)} cells, {len(study.cells) - len(missing)} have ended")

        def note(cell: Cell, error: str) -> None:
            if error:
                errors[cell.spec.name] = error
            outcome = results.of_cell(store, cell, error)
            figures = "  ".join(f"{name} {value:.3f}" for name, value in outcome.values.items())
            what = f"{cell.detector} on {cell.dataset}, seed {cell.seed}"
            say(f"{next(place)}/{len(missing)}  {what}: {figures or outcome.missing}")

        interrupted = in_parallel.run(missing, str(store.root), address, note) if missing else ""
        found = [results.of_cell(store, cell, errors.get(cell.spec.name, "")) for cell in study.cells]
        results.write(store, study, found)
    return found, interrupted
