"""What came of the cells of a study: a row for each cell and metric, `study.parquet`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from assay.errors import AssayError
from assay.store import best_trial, parquet, trials_table
from assay.store.best_trial import Scores
from assay.store.store import Store
from assay.studies.study_file import Cell, Study

SCHEMA = pa.schema(
    [
        ("detector", pa.string()),
        ("dataset", pa.string()),
        ("seed", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),  # on validation images; NaN where the cell has none
        ("lower", pa.float64()),  # 95 % bounds over the images
        ("upper", pa.float64()),
        ("seconds", pa.float64()),  # of training and evaluation, all trials of the cell together
        ("stored_mb", pa.float64()),  # of the best trial's weights and bank
        ("sweep", pa.string()),
        ("trial", pa.int64()),
        ("model", pa.string()),
        ("missing", pa.string()),  # "" or why there is no figure
    ]
)


@dataclass(frozen=True)
class Result:
    """A cell that has run: its best trial's figures with bounds, and its scores; or why there are none."""

    cell: Cell
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    scores: Scores | None
    seconds: float = 0.0
    stored_mb: float = 0.0
    trial: int = -1
    model: str = ""
    missing: str = ""


def of_cell(store: Store, cell: Cell, error: str = "") -> Result:
    """The result of a cell as its sweep's log has it; error: what stopped it, if anything did."""
    name = cell.spec.name
    if error or not store.exists(f"sweeps/{name}/spec.yaml"):
        return Result(cell, {}, {}, None, missing=error or "has not run yet")
    spec, records = trials_table.load(store, name)
    seconds = sum(record.reports[-1]["seconds"] for record in records.values() if record.reports)
    try:
        best = best_trial.choose(store, spec, records).trial
    except AssayError:
        why = next((record.message.partition("\n")[0] for record in records.values() if record.failure), "")
        return Result(cell, {}, {}, None, seconds, missing=why or "no trial has ended yet")
    report = records[best].reports[-1]
    weights = f"models/{report['model']}/model.safetensors"
    return Result(
        cell,
        records[best].values(spec.directions),
        {metric: (low, high) for metric, (low, high) in report.get("intervals", {}).items()},
        best_trial.scores_of(store, best_trial.key(name, best)),
        seconds,
        len(store.read(weights)) / 1e6 if store.exists(weights) else float("nan"),
        best,
        report["model"],
    )


def table(study: Study, results: Iterable[Result]) -> pa.Table:
    """SCHEMA: a row for each cell and objective."""
    nothing = (float("nan"), float("nan"))
    rows = [
        {
            "detector": result.cell.detector,
            "dataset": result.cell.dataset,
            "seed": result.cell.seed,
            "metric": metric,
            "value": result.values.get(metric, float("nan")),
            "lower": result.intervals.get(metric, nothing)[0],
            "upper": result.intervals.get(metric, nothing)[1],
            "seconds": result.seconds,
            "stored_mb": result.stored_mb,
            "sweep": result.cell.spec.name,
            "trial": result.trial,
            "model": result.model,
            "missing": result.missing,
        }
        for result in results
        for metric in study.directions
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write(store: Store, study: Study, results: Iterable[Result]) -> str:
    """Write studies/NAME/study.parquet and return where it lies."""
    key = f"studies/{study.name}/study.parquet"
    store.write(key, parquet.dump(table(study, results)))
    return store.place(key)
