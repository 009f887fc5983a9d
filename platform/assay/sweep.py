"""A sweep on Ray Tune: Tune places and runs trials, the study decides, the trial log remembers."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np
import yaml
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from assay import data as data_module
from assay import spec as spec_module
from assay import trial_log, trials
from assay.cluster import connected
from assay.contracts import Images, TrainingData
from assay.errors import SweepError
from assay.provenance import environment
from assay.spec import Spec
from assay.store import Store, canonical
from assay.study import Listener, Study
from assay.worker import Worker

Answer = TypeVar("Answer")
IN_RAY = {"cpu": ("CPU", 1), "gpu": ("GPU", 1), "memory_gb": ("memory", 2**30)}
"""A key of `resources:` -> what Ray calls it, and in which unit."""


class Asker(Searcher):  # type: ignore[misc]
    """Gives Tune the study's next order, and the study the news of a worker that died."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self.study = study
        self.numbers: dict[str, int] = {}  # Tune's trial id -> our number
        self.error: Exception | None = None  # what went wrong in the study; Tune would bury it in a traceback

    def suggest(self, trial_id: str) -> Any:
        """The next order as a Tune configuration."""
        order = self.noted(self.study.next_order)
        if order is None:
            return Searcher.FINISHED
        self.numbers[trial_id] = order.number
        return {"order": asdict(order)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """An error here is a worker that died more often than `retries` allows; all else came as a report."""
        number = self.numbers.get(trial_id)
        if error and number is not None and self.study.records[number].state == "running":
            died = "the worker process died; look for out-of-memory in the logs"
            self.noted(lambda: self.study.end(number, "failed", "worker", died))

    def noted(self, ask: Callable[[], Answer]) -> Answer | None:
        """What the study answers; None where it raises, which ends the sweep."""
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - kept, and raised when Tune has ended its run in order
            self.error = error
            return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher; ours has nothing to pickle."""
        return {}


class Judge(tune.Stopper):  # type: ignore[misc]
    """Hands every report to the study, which says whether the trial stops; ends the sweep when the budget is used."""

    def __init__(self, study: Study, asker: Asker, wall_minutes: float | None) -> None:
        self.study, self.asker = study, asker
        self.deadline = time.monotonic() + wall_minutes * 60 if wall_minutes else None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial that reported is to stop."""
        if "report" not in result:
            return False
        number = self.asker.numbers[trial_id]
        return self.asker.noted(lambda: self.study.report(number, result["report"])) is not False

    def stop_all(self) -> bool:
        """Whether the sweep is to end: an error, Ctrl-C, or the wall-time budget is used up."""
        if not self.study.interrupted and self.deadline is not None and time.monotonic() > self.deadline:
            self.study.interrupted = "budget"
        return bool(self.study.interrupted or self.asker.error)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its stopper; ours has nothing to pickle."""
        return {}


class NewestFirst(FIFOScheduler):  # type: ignore[misc]
    """A worker that comes free takes the newest trial that waits.

    An older one waits for a worker that is still starting. Tune would give it the free one and end the other, so that
    trials shorter than a worker's start would all run in one worker, while others are started and ended beside it.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The newest trial without a running worker."""
        known = reversed(tune_controller.get_trials())
        return next((trial for trial in known if trial.status == Trial.PENDING), None)


def check(spec: Spec, store: Store, resume: bool) -> None:
    """Raise SweepError where a new sweep's name is taken, or where the sweep to resume was made from another spec."""
    key = f"sweeps/{spec.name}/spec.yaml"
    if not resume and store.exists(key):
        raise SweepError(
            f"sweep '{spec.name}' exists in {store.root}; continue it with `assay sweep --resume {spec.name}`, or "
            "give the new one another name with `--set name=...`"
        )
    if resume and spec_module.read(store.path(key)).hash != spec.hash:
        raise SweepError(f"sweep '{spec.name}' was started from another file; resume it by name: --resume {spec.name}")


def prepare(spec: Spec, store: Store) -> None:
    """Write spec.yaml and environment.json of a new sweep."""
    plain = yaml.safe_dump(spec.plain(), sort_keys=False, allow_unicode=True)
    store.write(f"sweeps/{spec.name}/environment.json", canonical(environment()))
    store.write(f"sweeps/{spec.name}/spec.yaml", plain.encode())  # last: with it the sweep exists


def load_data(spec: Spec, store: Store) -> TrainingData:
    """The sweep's data; raises SweepError where a sweep to be resumed was started on other images."""
    data = data_module.training_data(spec.dataset.function(**spec.dataset.arguments()))
    now = data.description["hash"]
    if any(event["dataset"] != now for event in trial_log.read(store, spec.name) if event["event"] == "start"):
        raise SweepError(
            f"the images of dataset '{data.description['name']}' are not those that sweep '{spec.name}' was started "
            "on; bring them back, or run it again under another name"
        )
    return data


def run(
    spec: Spec,
    store: Store,
    *,
    resume: bool = False,
    address: str | None = None,
    listeners: Sequence[Listener] = (),
    on_data: Callable[[TrainingData], None] | None = None,
) -> Study:
    """Run a sweep to its end, its budget or Ctrl-C, and return its study; the log holds everything in any case.

    A name is taken only when everything is ready. Raises SweepError where nothing can be run, DataError where the
    data cannot be used, StoreError where the store cannot be written.
    """
    with store.locked(f"sweeps/.{spec.name}.lock", f"sweep '{spec.name}'"):
        check(spec, store, resume)
        data = load_data(spec, store)
        if on_data:
            on_data(data)
        study = Study(spec, store)
        study.listeners.extend(listeners)
        if not study.remaining:
            trials.write(store, spec, study.records)
        else:
            with connected(address) as resources:
                concurrent = together(spec, resources, joined=address is not None)
                if not resume:
                    prepare(spec, store)
                try:
                    dataset = data.description["hash"]
                    study.log.append({"event": "start", "dataset": dataset, "environment": environment()})
                    _fit(study, data, concurrent)
                finally:
                    study.log.close()
                    trials.write(store, spec, study.records)
        return study


def together(spec: Spec, resources: dict[str, float], joined: bool) -> int:
    """How many trials run at a time on these resources; raises SweepError where not even one fits.

    A cluster that was joined may grow when more is asked of it than it has, so there `resources.concurrent` is taken
    at its word.
    """
    if joined and spec.resources.concurrent:
        return spec.resources.concurrent
    fit = []
    for name, (key, unit) in IN_RAY.items():
        amount, has = getattr(spec.resources, name) or 0, resources.get(key, 0) / unit
        if amount > has:
            grows = "; a cluster that starts its workers on demand needs resources.concurrent" if joined else ""
            raise SweepError(
                f"a trial needs {amount:g} {name} and the cluster has {has:g}; lower resources.{name}{grows}"
            )
        if amount:
            fit.append(int(has // amount))
    return min(*fit, spec.resources.concurrent or fit[0])


def _fit(study: Study, data: TrainingData, concurrent: int) -> None:
    """One run of Tune over what remains."""
    spec = study.spec
    need = {key.lower(): (getattr(spec.resources, name) or 0) * unit for name, (key, unit) in IN_RAY.items()}
    asker = Asker(study)
    folder = study.store.path(f"sweeps/{spec.name}/ray")
    with study.store.explain(f"sweeps/{spec.name}/ray"):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours says what to do next
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors reach the user through the log's records
    worker = tune.with_parameters(Worker, data=in_memory(data), root=str(study.store.root))
    tuner = tune.Tuner(
        tune.with_resources(worker, need),
        tune_config=tune.TuneConfig(
            search_alg=asker,
            scheduler=NewestFirst(),
            num_samples=study.remaining,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"run-{int(time.time())}",
            storage_path=str(folder),
            stop=Judge(study, asker, spec.budget.wall_minutes),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=spec.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    with watched_for_interrupt(study):
        tuner.fit()
    if asker.error:
        raise asker.error
    if study.ended:
        study.interrupted = ""
    elif not study.interrupted:
        raise SweepError(
            f"Ray Tune ended before all trials did; look at {folder}, then resume with --resume {spec.name}"
        )


@contextmanager
def watched_for_interrupt(study: Study) -> Iterator[None]:
    """Note a Ctrl-C, which Tune takes to end its run in order; a second one ends it at once."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if study.interrupted:
            raise KeyboardInterrupt
        study.interrupted = "interrupt"

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def in_memory(data: TrainingData) -> TrainingData:
    """The data with plain arrays, which Ray's object store shares between processes without a copy."""

    def plain(images: Images) -> Images:
        return replace(images, pixels=np.array(images.pixels), labels=np.array(images.labels))

    return replace(data, train=plain(data.train), validation=plain(data.validation), labelled=plain(data.labelled))
