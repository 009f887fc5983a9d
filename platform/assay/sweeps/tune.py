"""One run of Ray Tune over what remains of a study: Tune places and runs trials, the study decides."""

from __future__ import annotations

import logging
import os
import tempfile

import ray
from ray import tune
from ray.tune.execution import class_cache

from assay.cluster import capacity, image_blocks
from assay.cluster.idle_warning import Waiting
from assay.cluster.metrics import Board
from assay.cluster.worker_logs import keep_all
from assay.contracts import TrainingData
from assay.errors import SweepError
from assay.runtime.interrupt import noted_interrupt
from assay.sweeps.budget import Meter
from assay.sweeps.study import Study
from assay.sweeps.tune_adapters import (
    BoardCallback,
    BudgetCallback,
    FailureCallback,
    NewestPendingFirst,
    StudySearcher,
    StudyStopper,
)
from assay.sweeps.tune_worker import Worker


def fit(study: Study, data: TrainingData, concurrent: int, meter: Meter, joined: bool = False) -> None:
    """Run Tune over the trials that remain, until they have ended or the meter says that the budget is used up.

    joined: on a cluster that was there before, whose figures are then exported and the logs of its workers kept.
    """
    spec, board = study.spec, Board() if joined else None
    logs = f"logs/sweeps/{spec.name}" if joined else ""
    searcher = StudySearcher(study)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours says what to do next
    os.environ["RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE"] = "1"  # or Tune would try again by itself, unnoticed
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors reach the user through the log's records
    # A private module of Ray, as there is no public way: Tune copies AWS keys into the environment of each trial, which
    # Ray writes into a log, in clear. Local workers inherit the keys anyway, those of a cluster have their own.
    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name[:4] == "AWS_"}
    class_cache.DEFAULT_ENV_VARS.clear()  # or each trial waits for a new worker; Ray has some ready without variables
    sent = image_blocks.sent(data)
    worker = tune.with_parameters(Worker, data=sent, root=study.store.root, gpus=spec.resources.gpu or 0, logs=logs)
    need = spec.resources.model_dump(include=set(capacity.IN_RAY))
    idle = Waiting("trial", need, ray.cluster_resources)
    with tempfile.TemporaryDirectory(prefix="assay-tune-", ignore_cleanup_errors=True) as scratch:
        tuner = tune.Tuner(
            tune.with_resources(worker, capacity.need(spec)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=NewestPendingFirst(),
                num_samples=-1,  # until the searcher says that it was the last one
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=spec.name,
                storage_path=scratch,  # only Tune reads it
                stop=StudyStopper(study, searcher, meter),
                callbacks=[
                    FailureCallback(searcher),
                    BudgetCallback(meter, searcher, lambda note: searcher.noted(lambda: study.log.append(note)), idle),
                    *([BoardCallback(board, study, meter)] if board else []),
                ],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),  # the study decides what is tried again
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        again = f"resume with --resume {spec.name}"
        with noted_interrupt(study):
            try:
                tuner.fit()
            except Exception as error:
                raise searcher.error or SweepError(f"Ray Tune broke off, {again}: {last_line(error)}") from error
            finally:
                if joined:
                    keep_all(study.store, logs)
    if searcher.error:
        raise searcher.error
    if study.ended:
        study.interrupted = ""
    elif not study.interrupted:
        raise SweepError(f"Ray Tune ended before all trials did; {again}")


def last_line(error: Exception) -> str:
    """The message in an error of Tune, whose text is the traceback of another error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
