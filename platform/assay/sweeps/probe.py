"""What an epoch of each trainable of a search space takes: of one that has run by the log, else by a short probe."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assay.config.domains import Choice
from assay.config.search_space import Spec
from assay.contracts import TrainingData
from assay.models import scoring
from assay.store.store import Store
from assay.store.trial_log import Record
from assay.sweeps import evaluation
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial, TrialConfig

SECONDS = 50.0
"""How long all probes train together; each trains one epoch at the least and is evaluated, however long it takes."""

EVALUATED = 16
"""Images of each class that a probe is evaluated on; all images of the validation split take as much longer."""


@dataclass(frozen=True)
class Rate:
    """What one trainable takes. seconds: of an epoch, its share of an evaluation in it. epochs: of a whole trial.

    seen: where that is from, in words. Memory in GB, at the peak, 0 where it is not known.
    """

    trainable: str
    seconds: float
    epochs: int
    seen: str
    memory_gb: float = 0.0


def alternatives(spec: Spec) -> dict[str, Spec]:
    """The trainables of a search space by name, each with a search space of its own."""
    if isinstance(spec.trainable, str):
        return {spec.trainable: spec}
    options = {str(option[0]): option for option in spec.trainable.options}
    return {name: spec.model_copy(update={"trainable": Choice((option,))}) for name, option in options.items()}


def by_log(spec: Spec, records: Iterable[Record]) -> dict[str, Rate]:
    """The rates of the trainables of which a trial has reported."""
    last: dict[str, list[Mapping[str, float]]] = {}
    for record in records:
        if record.reports:
            last.setdefault(spec.trainable_of(record.assignment), []).append(record.reports[-1])
    return {
        name: Rate(
            name,
            sum(report["seconds"] for report in reports) / sum(report["epoch"] for report in reports),
            int(max(report["epochs"] for report in reports)),
            f"{len(reports)} trial{'s' * (len(reports) != 1)} so far",
        )
        for name, reports in last.items()
    }


def probe(name: str, alone: Spec, data: TrainingData, seconds: float) -> Rate:
    """Train the first trial of a trainable in a scratch folder for so long, then evaluate it on some images.

    alone: a search space with this trainable only. Raises what the trial raises.
    """
    with tempfile.TemporaryDirectory(prefix="assay-probe-") as scratch:
        study = Study(alone, Store(scratch))
        order = study.next_order()
        study.log.close()
        assert order is not None  # a new study always has a first order
        trial = Trial(order, data, study.store)
        started = time.monotonic()
        while trial.epoch < trial.run.epochs and (not trial.epoch or time.monotonic() - started < seconds):
            trial.train_epoch()
        epoch = (time.monotonic() - started) / trial.epoch
        evaluating = _evaluation(trial, order) / min(alone.evaluation.every, trial.run.epochs)
        seen = f"probe of {trial.epoch} epoch{'s' * (trial.epoch != 1)}"
        return Rate(name, epoch + evaluating, trial.run.epochs, seen, resident_gb())


def _evaluation(trial: Trial, order: TrialConfig) -> float:
    """Seconds of an evaluation, by that of a few images."""
    images = trial.data.validation
    few = scoring.take(images, scoring.some_of_each(images.labels, EVALUATED))
    started = time.monotonic()
    evaluation.evaluate(trial.run.detector(), few, order.evaluation, order.evaluation_seed, order.device)
    return (time.monotonic() - started) * len(images) / len(few)


def resident_gb() -> float:
    """The most memory that this process had so far."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
