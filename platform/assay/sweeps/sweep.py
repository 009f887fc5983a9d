"""A sweep, from its spec to its table of trials: Ray Tune runs trials, the study decides, the trial log records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import yaml

from assay.cluster import capacity, started_workers
from assay.cluster.connection import connected
from assay.config import labels_needed
from assay.config.search_space import Spec
from assay.contracts import Dataset, TrainingData
from assay.data import moved
from assay.data import splits as data_module
from assay.errors import InputError, SweepError
from assay.hashing import canonical
from assay.runtime.provenance import environment
from assay.store import cluster_cost, growth, trial_log, trials_table
from assay.store.store import Store
from assay.store.trial_log import Event
from assay.sweeps import budget, least_memory, tune
from assay.sweeps.budget import Meter, Spent
from assay.sweeps.study import Listener, Study


def check(spec: Spec, store: Store, resume: bool) -> None:
    """Raise SweepError if a new sweep's name is taken, or if the one to resume cannot grow into this spec."""
    key = f"sweeps/{spec.name}/spec.yaml"
    if not resume and store.exists(key):
        raise SweepError(
            f"sweep '{spec.name}' exists in {store.root}; continue it with `assay sweep --resume {spec.name}`, or "
            "give the new one another name with `--set name=...`"
        )
    if resume:
        growth.growth(trials_table.stored_spec(store, spec.name), spec)


def prepare(spec: Spec, store: Store) -> None:
    """Write spec.yaml and environment.json of a new sweep."""
    plain = yaml.safe_dump(spec.plain(), sort_keys=False, allow_unicode=True)
    store.write(f"sweeps/{spec.name}/environment.json", canonical(environment()))
    store.write(f"sweeps/{spec.name}/spec.yaml", plain.encode())  # last: with it the sweep exists


def dataset(spec: Spec, resume: bool) -> Dataset:
    """The dataset of a sweep; that of one which is resumed is read where its images lie now."""
    if not resume and moved.told_now():
        raise InputError("--data says where the images of an earlier sweep lie now: it goes with --resume")
    item = spec.dataset
    return moved.again(item.name, item.function, item.arguments(), stored=resume)


def load_data(spec: Spec, events: Sequence[Event], resume: bool = False) -> TrainingData:
    """The sweep's data; raises SweepError if, according to the log, it was started on other images."""
    data = data_module.training_data(dataset(spec, resume))
    labels_needed.require(spec, data)
    now = data.description["hash"]
    if any(event["dataset"] != now for event in events if event["event"] == "start"):
        raise SweepError(
            f"the images of dataset '{data.description['name']}' are not those that sweep '{spec.name}' was started "
            "on; restore them, or run it again under another name"
        )
    return data


def run(
    spec: Spec,
    store: Store,
    *,
    resume: bool = False,
    address: str | None = None,
    listeners: Sequence[Listener] = (),
    on_data: Callable[[TrainingData], object] | None = None,
    on_note: Callable[[str], object] | None = None,
    meter: Meter | None = None,
) -> Study:
    """Run a sweep to its end, its budget or Ctrl-C, and return its study; the log is complete in every case.

    on_note: called with what is to be said about trials of earlier sweeps. meter: receives what earlier runs spent, and
    measures this one.
    The name is taken only once everything is ready. Raises SweepError if nothing can be run, DataError if the data
    cannot be used, StoreError if the store cannot be written.
    """
    store.require_writable()
    with store.locked(f"sweeps/.{spec.name}.lock", f"sweep '{spec.name}'"):
        check(spec, store, resume)
        events = trial_log.read(store, spec.name)  # only once: the log of a long sweep takes a while to read
        data = load_data(spec, events, resume)
        if on_data:
            on_data(data)
        study = Study(spec, store, events)
        study.listeners.extend(listeners)
        meter, joined = meter or Meter(spec.budget), address is not None
        meter.before = budget.spent(events)
        if not study.remaining:
            try:
                study.settle()
            finally:
                study.log.close()
            trials_table.write(store, spec, study.records)
        elif over := budget.over(spec.budget, meter.spent()):  # wall time has not begun
            more = " ".join(f"--budget {name}={2 * getattr(spec.budget, name):g}" for name in over)
            raise SweepError(
                f"sweep '{spec.name}' has used up its budget ({', '.join(over.values())}); continue it with: "
                f"assay sweep --resume {spec.name} {more}"
            )
        else:
            if not joined:
                least_memory.require(spec, data)
            with connected(address) as resources:
                concurrent = capacity.together(spec, resources, joined)
                grown = growth.growth(trials_table.stored_spec(store, spec.name), spec) if resume else []
                if not resume or grown:
                    prepare(spec, store)
                try:
                    hash_ = data.description["hash"]
                    study.log.append({"event": "start", "dataset": hash_, "environment": environment()})
                    if spec.search.start_from and not study.earlier and not study.records:
                        for note in study.start_from():
                            on_note(note) if on_note else None
                    if grown:
                        study.log.append({"event": "grown", "changes": grown})
                    meter.start(spec.resources)
                    with started_workers.watched() if joined else nullcontext() as meter.workers:
                        tune.fit(study, data, concurrent, meter, joined)
                    study.settle()
                    for note in _about_workers(study, meter) if joined else ():
                        on_note(note) if on_note else None
                finally:
                    study.log.close()
                    trials_table.write(store, spec, study.records)
        return study


def _about_workers(study: Study, meter: Meter) -> Iterator[str]:
    """What an autoscaled cluster has started for the sweep; where its budget is used up, its idle workers are ended."""
    spec, up = study.spec, budget.up(trial_log.read(study.store, study.spec.name))
    if up == Spent():
        return
    price = spec.budget.price
    cluster_cost.write(study.store, spec.name, spec.hash, meter.spent().plain(price), up.plain(price))
    yield cluster_cost.sentence(study.store, spec.name)
    if study.interrupted == "budget":
        yield f"idle workers that were ended: {started_workers.end_idle()}"
