"""One run of Ray Tune over what remains of a study: Tune places and runs trials, the study decides."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from assay import packing
from assay.budget import Meter
from assay.contracts import Images, TrainingData
from assay.errors import SweepError
from assay.spending import Spending
from assay.study import Study
from assay.worker import Worker

Answer = TypeVar("Answer")


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

    def __init__(self, study: Study, asker: Asker, meter: Meter) -> None:
        self.study, self.asker, self.meter = study, asker, meter

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial that reported is to stop."""
        if "report" not in result:
            return False
        number = self.asker.numbers[trial_id]
        return self.asker.noted(lambda: self.study.report(number, result["report"])) is not False

    def stop_all(self) -> bool:
        """Whether the sweep is to end: an error, Ctrl-C, or a budget that is used up."""
        if not self.study.interrupted and self.meter.over():
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


def fit(study: Study, data: TrainingData, concurrent: int, meter: Meter) -> None:
    """One run of Tune over what remains; the meter says when the budget is used up."""
    spec = study.spec
    asker = Asker(study)
    folder = study.store.path(f"sweeps/{spec.name}/ray")
    with study.store.explain(f"sweeps/{spec.name}/ray"):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours says what to do next
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors reach the user through the log's records
    worker = tune.with_parameters(Worker, data=in_memory(data), root=str(study.store.root))
    tuner = tune.Tuner(
        tune.with_resources(worker, packing.need(spec)),
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
            stop=Judge(study, asker, meter),
            callbacks=[Spending(meter, lambda note: asker.noted(lambda: study.log.append(note)))],
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
