"""The table of a sweep's trials: from the log to `trials.parquet`, its Pareto front and its best trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from assay.config import objectives as choice
from assay.config import reader, yaml_file
from assay.config.search_space import Spec
from assay.errors import SweepError, UnknownName
from assay.store import parquet, schemas, trial_log
from assay.store.store import Store
from assay.store.trial_log import Record


def rows(spec: Spec, records: Mapping[int, Record]) -> list[dict[str, Any]]:
    """One plain mapping per trial: the columns of tables.TRIALS, `objective.<name>`, `parameter.<key>`, `retried`."""
    return [
        row | {"config": json.dumps(spec.config(records[row["trial"]].assignment), sort_keys=True)}
        for row in listing(spec.directions, records)
    ]


def listing(objectives: Mapping[str, str], records: Mapping[int, Record]) -> list[dict[str, Any]]:
    """As `rows`, but for the configuration, which takes the trainable's code. objectives: each `max` or `min`."""
    front = set(pareto(objectives, records))
    found = []
    for number, record in sorted(records.items()):
        last = record.reports[-1] if record.reports else {}
        row = {
            "trial": number,
            "state": record.state,
            "pareto": number in front,
            "epoch": last.get("kept", {}).get("epoch"),
            "epochs": last.get("epoch", 0),
            "model": last.get("model", ""),
            "seed": last.get("seed"),
            "seconds": last.get("seconds", 0.0),
            "attempts": max(last.get("attempts", 0), len(record.retried) + bool(last)),
            "failure": record.failure,
            "message": record.message,
            "parameters": json.dumps(record.parameters, sort_keys=True),
            "retried": ", ".join(record.retried),  # why earlier attempts came to nothing
        }
        row |= {f"objective.{name}": last["kept"][name] if last else None for name in objectives}
        found.append(row | {f"parameter.{name}": value for name, value in record.parameters.items()})
    return found


def pareto(objectives: Mapping[str, str], records: Mapping[int, Record]) -> list[int]:
    """The numbers of the complete trials that no other complete trial beats on every objective."""
    complete = [n for n, record in sorted(records.items()) if record.state == "complete"]
    points = [
        tuple(value if objectives[name] == "max" else -value for name, value in records[n].values(objectives).items())
        for n in complete
    ]
    return [complete[at] for at in choice.front(points)]


def best(spec: Spec, records: Mapping[int, Record]) -> int:
    """The number of the trial that `best:` of the search space chooses; raises SweepError if none is complete."""
    objectives = spec.directions
    rule = spec.plain()["best"]
    front = pareto(objectives, records)
    if not front:
        raise SweepError(
            f"sweep '{spec.name}' has no complete trial; look at `assay trials {spec.name}`, then resume it"
        )
    return max(front, key=lambda n: (choice.merit(records[n].values(objectives), rule, objectives), -n))


def write(store: Store, spec: Spec, records: Mapping[int, Record]) -> None:
    """Write sweeps/<name>/trials.parquet."""
    store.write(f"sweeps/{spec.name}/trials.parquet", parquet.dump(table(rows(spec, records))))


def table(found: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table; a parameter that is not always a number is text."""
    schema = list(schemas.TRIALS)
    extra = sorted({name for row in found for name in row} - {name for name, _ in schema})
    for name in extra:
        values = [row[name] for row in found if row.get(name) is not None]
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        schema.append((name, pa.float64() if numbers else pa.string()))
        if not numbers:
            found = [{**row, name: None if row.get(name) is None else str(row[name])} for row in found]
    return pa.Table.from_pylist(found, schema=pa.schema(schema))


def load(store: Store, sweep: str) -> tuple[Spec, dict[int, Record]]:
    """A sweep's spec and records from the store; raises UnknownName with the sweeps there are."""
    return stored_spec(store, sweep), trial_log.records(trial_log.read(store, sweep))


def load_listing(store: Store, sweep: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """A sweep's objectives and the listing of its trials; needs neither PyTorch nor the code of what is trained."""
    objectives = _stored(store, sweep)["objectives"]
    return objectives, listing(objectives, trial_log.records(trial_log.read(store, sweep)))


def stored_spec(store: Store, sweep: str) -> Spec:
    """The spec that a sweep was started with; raises UnknownName with the sweeps there are."""
    return reader.check(_stored(store, sweep), store.place(_key(sweep)))


def _stored(store: Store, sweep: str) -> dict[str, Any]:
    key = _key(sweep)
    if not store.exists(key):
        raise UnknownName("sweep", sweep, store.names("sweeps"))
    return yaml_file.decoded(store.read(key), store.place(key))


def _key(sweep: str) -> str:
    return f"sweeps/{sweep}/spec.yaml"
