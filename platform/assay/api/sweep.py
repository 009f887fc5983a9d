"""Sweeps: start one, go on with one, forecast one, open one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.api.arguments import StoreLike, file_or_values, store_of
from assay.cluster import user_code
from assay.config import overrides, reader
from assay.config.search_space import Spec
from assay.errors import InputError, SpecError, SweepError
from assay.store import best_trial, cluster_cost, growth, trial_log, trials_table
from assay.store.best_trial import Best
from assay.store.store import Store
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from assay.contracts import TrainingData
    from assay.data.moved import Places
    from assay.metrics.advice import Finding
    from assay.remote.arrival import Arrival
    from assay.sweeps.budget import Meter, Spent
    from assay.sweeps.forecast import Forecast
    from assay.sweeps.study import Listener, Study

SpaceLike = Mapping[str, Any] | Path | str
"""A search space: the path of its YAML file, or a mapping of what the file would hold."""


@dataclass(frozen=True)
class Sweep:
    """A sweep in the store, running or ended.

    directions: objective -> `max` or `min`. trials: all there are, by number. interrupted: "" for a sweep that ran to
    its end or was only opened, else `budget`, `interrupt` (Ctrl-C) or `termination`. spent: hours by all runs, None
    where the sweep was only opened.
    """

    name: str
    store: Store
    directions: Mapping[str, str]
    trials: tuple[Trial, ...]
    interrupted: str = ""
    spent: Spent | None = None

    @property
    def pareto(self) -> tuple[Trial, ...]:
        """The complete trials that no other complete trial beats on every objective."""
        return tuple(trial for trial in self.trials if trial.pareto)

    @property
    def best(self) -> Trial:
        """The trial that `best:` of the search space chooses; raises SweepError if none is complete."""
        number = self._chosen.trial
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def because(self) -> str:
        """What is to be said about trials that are as good as the best one; "" where it leads clearly."""
        return self._chosen.said

    @cached_property
    def _chosen(self) -> Best:
        return best_trial.choose(self.store, *trials_table.load(self.store, self.name))

    @cached_property
    def advice(self) -> tuple[Finding, ...]:
        """What mattered, what was exhausted, what never won and what to try next, each in a sentence with its figure.

        Takes some seconds where 20 trials or more are complete.
        """
        from assay.metrics import advice, importance

        rule = trials_table.plain_spec(self.store, self.name).get("best") or {"maximize": "mean"}
        records = trial_log.records(trial_log.read(self.store, self.name))
        rows = importance.table(trials_table.table(importance.sample(self.trials)), self.directions).to_pylist()
        return tuple(advice.advice(records, self.directions, rule, rows, self.name))

    @property
    def states(self) -> Mapping[str, int]:
        """State -> how many trials are in it: complete, pruned, failed or running."""
        return Counter(trial.state for trial in self.trials)

    def to_arrow(self) -> pa.Table:
        """The trials as a table, as `trials.parquet` holds them."""
        return trials_table.table(self.trials)

    def to_pandas(self) -> pd.DataFrame:
        """The trials as a data frame, a row each."""
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        from assay.reports.notebook import sweep_html

        return sweep_html(self.name, self.directions, self.trials, self.interrupted)


def sweep(
    space: SpaceLike | None = None,
    *,
    resume: str | None = None,
    changes: Sequence[str] = (),
    budget: Sequence[str] = (),
    trials: int | None = None,
    data: Places = (),
    store: StoreLike = None,
    address: str | None = None,
    wandb: bool | None = None,
    on_progress: Listener | None = None,
    on_message: Callable[[str], object] | None = None,
) -> Sweep:
    """Train the trials of a search space, or go on with a sweep of the store, and return what came of it.

    space: a file, or a mapping of what it would hold. resume: the name of the sweep to go on with; `space` may be given
    with it where its own modules lie beside the file. changes, budget: `key=value` as with `--set` and `--budget`.
    trials: how many a resumed sweep is to have now.
    data: where the images of a sweep that is resumed lie now, by the names of their datasets; others are refused.
    address: a Ray cluster; without one, Ray is started on this machine and ended again. wandb: whether to mirror to
    W&B; by default as the search space says. on_progress: called with (record, event) as trials go on. on_message:
    called with sentences about W&B. Ctrl-C ends it cleanly; the result says so (`interrupted`).
    Raises SpecError with every fault of the search space, SweepError, DataError or StoreError.

    >>> space = {
    ...     "name": "first",
    ...     "trainable": "neighbours",
    ...     "dataset": {"name": "folder", "root": images, "normal": "good", "anomalous": "spot",
    ...                 "image_size": 16, "channels": 1},
    ...     "fixed": {"backbone": {"pixels": {"side": 8}}},
    ...     "space": {"k": {"integer": [1, 5]}},
    ...     "evaluation": {"attack": "fgsm", "epsilon": "2/255"},
    ...     "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    ...     "search": {"sampler": "random", "trials": 2},
    ...     "tracking": {"wandb": False},
    ... }
    >>> found = assay.sweep(space, store=store)
    >>> found.name, len(found.trials), found.best.state
    ('first', 2, 'complete')
    """
    from assay.data import moved

    place = store_of(store)
    spec = read(space, resume=resume, changes=changes, budget=budget, trials=trials, store=place)
    with moved.told(data):
        study, meter = run(
            spec,
            place,
            resume=resume is not None,
            address=address,
            wandb=wandb,
            listeners=[on_progress] if on_progress else [],
            on_message=on_message,
        )
    return of_study(study, place, meter.spent())


def open_sweep(name: str, *, store: StoreLike = None) -> Sweep:
    """A sweep of the store, running or ended; needs neither PyTorch nor the code of what was trained.

    Raises UnknownName with the sweeps there are.

    >>> assay.open_sweep("demo", store=store).to_pandas()["state"].tolist()
    ['complete', 'complete', 'complete']
    """
    place = store_of(store)
    directions, trials = trials_table.load_listing(place, name)
    return Sweep(name, place, directions, tuple(trials))


def forecast(
    space: SpaceLike | None = None,
    *,
    resume: str | None = None,
    changes: Sequence[str] = (),
    budget: Sequence[str] = (),
    data: Places = (),
    store: StoreLike = None,
    address: str | None = None,
) -> Forecast:
    """What a sweep, or what remains of one, will take: trials, hours, memory, cost; a short probe is trained for it.

    Parameters are as in `sweep`. One for a cluster is kept, and the sweep compared with it.

    >>> assay.forecast(resume="demo", store=store).trials
    0
    """
    from assay.data import moved
    from assay.sweeps import forecast as forecasts

    place = store_of(store)
    spec = read(space, resume=resume, changes=changes, budget=budget, store=place)
    records = trials_table.load(place, resume)[1] if resume is not None else {}
    with moved.told(data):
        found = forecasts.of(spec, place, records, address)
    if address is not None and resume is None:
        cluster_cost.keep_forecast(place, spec.name, spec.hash, found.plain())
    return found


def arrival(spec: Spec, resume: bool = False, data: Places = ()) -> Arrival | None:
    """What the images of a sweep weigh that are in object storage, and how long they take to arrive; else None.

    A few of them are fetched to know. Raises DataError where they can't be.
    """
    from assay.data import moved
    from assay.remote import arrival as arrivals

    with moved.told(data):
        return arrivals.arrival(moved.found(spec.dataset.name, spec.dataset.arguments(), stored=resume))


def read(
    space: SpaceLike | None,
    *,
    resume: str | None = None,
    changes: Sequence[str] = (),
    budget: Sequence[str] = (),
    trials: int | None = None,
    store: StoreLike = None,
) -> Spec:
    """The checked search space of a file, a mapping, or the stored sweep `resume`, with changes and budget applied.

    Raises InputError, SpecError with every fault, or SweepError where the file is not what the sweep was started from.
    """
    budgets = [f"budget.{pair}" for pair in budget]
    if trials is not None:
        budgets.append(f"search.trials={trials}")
    if space is None and resume is None:
        raise InputError("give a search space, or the name of a sweep to resume")
    if resume is None:
        return _given(space, [*changes, *budgets])
    if changes and space is None:
        raise InputError("a sweep is resumed as it was started; changes go with a search space")
    return reader.changed(_stored(store_of(store), resume, space, changes), budgets)


def _given(space: SpaceLike | None, changes: Sequence[str]) -> Spec:
    given = file_or_values(space, "search space")
    if isinstance(given, str):
        user_code.beside(given)
        return reader.read(given, changes)
    values, faults = overrides.apply(given, changes)
    return reader.check(values, "the search space", faults)


def _stored(store: Store, name: str, space: SpaceLike | None, changes: Sequence[str]) -> Spec:
    """The spec a sweep was started with; raises SweepError where a search space that is given too says another one."""
    if isinstance(space, str | Path):
        user_code.beside(str(space))
    try:
        stored = trials_table.stored_spec(store, name)
    except SpecError as error:
        if space is None and "No module named" in str(error):
            hint = f"where it lies beside the search space, give that, too: assay sweep FILE --resume {name}"
            raise InputError(f"{error}\n{hint}") from None
        raise
    if space is None:
        return stored
    given = _given(space, changes)
    if given.hash == stored.hash:
        return stored
    try:
        growth.growth(stored, given)
    except SweepError as error:
        source = space if isinstance(space, str | Path) else "the search space"
        by_name = f"Give {source} as it was, with the same --set, or go on by name alone: assay sweep --resume {name}"
        raise SweepError(f"{error}. {by_name}") from None
    return given


def run(
    spec: Spec,
    store: Store,
    *,
    resume: bool = False,
    address: str | None = None,
    wandb: bool | None = None,
    listeners: Sequence[Listener] = (),
    on_data: Callable[[TrainingData], object] | None = None,
    on_message: Callable[[str], object] | None = None,
    meter: Meter | None = None,
    again: str = "",
) -> tuple[Study, Meter]:
    """A sweep with its W&B mirror: its study, and the meter of what it spent. again: the command that publishes it."""
    from assay.sweeps import sweep as stage
    from assay.sweeps.budget import Meter
    from assay.tracking.mirror import Tracker

    meter = meter or Meter(spec.budget)
    enabled = spec.tracking.wandb if wandb is None else wandb
    say = on_message or (lambda _: None)
    with Tracker(store, f"sweeps/{spec.name}", again or f"assay publish {spec.name}", say, enabled) as tracker:
        study = stage.run(
            spec,
            store,
            resume=resume,
            address=address,
            listeners=[*listeners, tracker.trial],
            on_data=on_data,
            on_note=say,
            meter=meter,
        )
    return study, meter


def of_study(study: Study, store: Store, spent: Spent | None) -> Sweep:
    """The result of a sweep that has just run."""
    directions = study.spec.directions
    trials = tuple(trials_table.trials(study.spec, study.records))
    return Sweep(study.spec.name, store, directions, trials, study.interrupted or "", spent)
