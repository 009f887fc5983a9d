"""The table of a sweep's trials: from the log to `trials.parquet`, and its Pareto front."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from assay import consent
from assay.config import objectives as choice
from assay.config import reader, yaml_file
from assay.config.search_space import Spec
from assay.contracts import Plain
from assay.errors import UnknownName
from assay.store import parquet, schemas, seeds, trial_log
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.units import in_255

BOUNDS = ("lower", "upper")


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep, as its log has it.

    objectives: of the epoch that was kept, None before the first report. intervals: objective -> its 95 % bounds, where
    it has any. costs: those that the search space limits. epoch: the one that was kept. epochs: how many were trained.
    rung: of the fidelity ladder, where it stands on a lower one and no objective is measured yet. retried: why earlier
    attempts came to nothing, comma-separated. detector: the name of its trainable. since: when its worker last began
    it, in seconds since 1970, None where none did yet. node: the machine that reported last. repeats: the trial whose
    configuration it trains with another seed, None for one that the search drew. seeds: what all seeds of it came to,
    once they are trained. config: the trainable's whole configuration, None where it was not asked for.
    """

    number: int
    state: str
    pareto: bool
    epoch: int | None
    epochs: int
    objectives: Mapping[str, float | None]
    parameters: Mapping[str, Any]
    model: str
    seed: int | None
    seconds: float
    attempts: int
    failure: str
    message: str
    retried: str
    detector: str = ""
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    rung: str = ""
    since: float | None = None
    node: str = ""
    repeats: int | None = None
    seeds: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None

    @property
    def varied(self) -> str:
        """What it varied, in words: `adversary.epsilon=3.57/255, k=3`."""
        return ", ".join(f"{key}={_words(key, value)}" for key, value in self.parameters.items())

    def row(self) -> dict[str, object]:
        """The columns of schemas.TRIALS, `objective.<name>` with its bounds, `parameter.<key>` and `retried`."""
        shared = {field: getattr(self, field) for field, _ in schemas.TRIALS if hasattr(self, field)}
        config = {} if self.config is None else {"config": json.dumps(self.config, sort_keys=True)}
        return {
            **shared,
            "trial": self.number,
            "parameters": json.dumps(self.parameters, sort_keys=True),
            "retried": self.retried,
            **({} if self.repeats is None else {"repeats": self.repeats}),
            **{f"objective.{name}": value for name, value in self.objectives.items()},
            **{f"{bound}.{name}": ends[at] for name, ends in self.intervals.items() for at, bound in enumerate(BOUNDS)},
            **{f"cost.{name}": value for name, value in self.costs.items()},
            **{f"parameter.{name}": value for name, value in self.parameters.items()},
            **config,
        }


def _words(key: str, value: Any) -> Any:
    if key.endswith("epsilon"):
        return in_255(value)
    return f"{value:.3g}" if isinstance(value, float) else value


def trials(spec: Spec, records: Mapping[int, Record]) -> list[Trial]:
    """Every trial, its configuration among the rest."""
    return [
        dataclasses.replace(trial, config=spec.config(records[trial.number].assignment))
        for trial in listing(spec.directions, records, spec.plain()["trainable"], spec.constraints)
    ]


def listing(
    objectives: Mapping[str, str], records: Mapping[int, Record], trainable: Any, constraints: Mapping[str, float]
) -> list[Trial]:
    """Every trial without its configuration, which takes the trainable's code.

    objectives: each `max` or `min`. trainable: as in the search space, a name or a choice of several. constraints: the
    most that each cost may be.
    """
    front = set(pareto(objectives, records, constraints))
    return [
        _trial(number, record, objectives, number in front, detector_of(trainable, record))
        for number, record in sorted(records.items())
    ]


def detector_of(trainable: Any, record: Record) -> str:
    """The name of a trial's trainable."""
    return trainable if isinstance(trainable, str) else str(record.parameters.get("trainable", ""))


def _trial(number: int, record: Record, objectives: Mapping[str, str], on_front: bool, detector: str) -> Trial:
    last = record.reports[-1] if record.reports else None
    return Trial(
        number=number,
        detector=detector,
        state=record.state,
        pareto=on_front,
        epoch=int(last["kept"]["epoch"]) if last else None,
        epochs=last["epoch"] if last else 0,
        objectives={name: last["kept"].get(name) if last else None for name in objectives},
        rung=last.get("rung", "") if last else "",
        parameters=record.parameters,
        model=last.get("model", "") if last else "",
        seed=last.get("seed") if last else None,
        seconds=last.get("seconds", 0.0) if last else 0.0,
        attempts=max(last.get("attempts", 0), len(record.retried) + 1) if last else len(record.retried),
        failure=record.failure,
        message=record.message,
        retried=", ".join(record.retried),
        intervals=last.get("intervals", {}) if last else {},
        costs=record.costs,
        since=record.begun,
        node=last.get("node", "") if last else "",
        repeats=record.repeats,
        seeds=record.seeds,
    )


def pareto(
    objectives: Mapping[str, str], records: Mapping[int, Record], constraints: Mapping[str, float] = {}
) -> list[int]:
    """The numbers of the complete trials that no other complete trial beats on every objective.

    Of those within the constraints, or where none is, of those that exceed them by least. A configuration that was
    trained with several seeds counts by their mean, under the trial that the search drew.
    """
    measured = seeds.averaged(records, objectives)
    complete = list(measured)
    excess = {n: records[n].excess(constraints) for n in complete}
    least = min(excess.values(), default=0.0)
    complete = [n for n in complete if excess[n] == least]
    points = [
        tuple(value if objectives[name] == "max" else -value for name, value in measured[n].items()) for n in complete
    ]
    return [complete[at] for at in choice.front(points)]


def write(store: Store, spec: Spec, records: Mapping[int, Record]) -> None:
    """Write sweeps/<name>/trials.parquet."""
    store.write(f"sweeps/{spec.name}/trials.parquet", parquet.dump(table(trials(spec, records))))


def table(listed: Iterable[Trial]) -> pa.Table:
    """The trials as a table; a parameter that is not always a number is text."""
    rows = [trial.row() for trial in listed]
    schema = list(schemas.TRIALS)
    for name in sorted({name for row in rows for name in row} - {name for name, _ in schema}):
        values = [row[name] for row in rows if row.get(name) is not None]
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        schema.append((name, pa.float64() if numbers else pa.string()))
        if not numbers:
            rows = [{**row, name: None if row.get(name) is None else str(row[name])} for row in rows]
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def load(store: Store, sweep: str) -> tuple[Spec, dict[int, Record]]:
    """A sweep's spec and records from the store; raises UnknownName with the sweeps there are."""
    return stored_spec(store, sweep), trial_log.records(trial_log.read(store, sweep))


def load_listing(store: Store, sweep: str) -> tuple[dict[str, str], list[Trial]]:
    """A sweep's objectives and the listing of its trials; needs neither PyTorch nor the code of what is trained."""
    stored = plain_spec(store, sweep)
    records = trial_log.records(trial_log.read(store, sweep))
    return stored["objectives"], listing(
        stored["objectives"], records, stored["trainable"], stored.get("constraints") or {}
    )


def stored_spec(store: Store, sweep: str) -> Spec:
    """The spec that a sweep was started with; raises UnknownName with the sweeps there are."""
    with consent.word_of_a_store():
        return reader.check(plain_spec(store, sweep), store.place(_key(sweep)))


def plain_spec(store: Store, sweep: str) -> Plain:
    """The spec of a sweep as plain values, unchecked; raises UnknownName with the sweeps there are."""
    key = _key(sweep)
    if not store.exists(key):
        raise UnknownName("sweep", sweep, store.names("sweeps"), store.root)
    return _modern(yaml_file.decoded(store.read(key), store.place(key)))


def _modern(spec: Plain) -> Plain:
    """The spec without a key of the past: where `gpu_memory_gb` let trials share a GPU, each now takes a whole one."""
    resources = spec.get("resources")
    if isinstance(resources, dict) and resources.pop("gpu_memory_gb", None) is not None:
        resources["gpu"] = 1.0
    return spec


def _key(sweep: str) -> str:
    return f"sweeps/{sweep}/spec.yaml"
