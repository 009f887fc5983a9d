"""Time per epoch of each trainable of a search space: from the log if it has run, otherwise from a short probe."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from assay.config.domains import Choice
from assay.config.search_space import Spec
from assay.contracts import TrainingData
from assay.data.reduced import take
from assay.models import scoring
from assay.runtime import gpu_memory
from assay.store.store import Store
from assay.store.trial_log import Record, Report
from assay.sweeps import evaluation
from assay.sweeps.study import Study
from assay.sweeps.trial import Trial, TrialConfig

SECONDS = 50.0
"""Training time of all probes together; each trains at least one epoch and is evaluated, however long that takes."""

EVALUATED = 16
"""Images of each class on which a probe is evaluated; the time is scaled up to the whole validation split."""


@dataclass(frozen=True)
class Rate:
    """Time and memory of one trainable. seconds: per epoch, with its share of an evaluation. epochs: of a whole trial.

    seen: the source of these figures, as text. Memory in GB, at the peak; 0 if unknown.
    """

    trainable: str
    seconds: float
    epochs: int
    seen: str
    memory_gb: float = 0.0


@dataclass(frozen=True)
class Arrived:
    """How decoded images came to the node of a probe. folder: where they lie, "" for its object store; free: bytes."""

    seconds: float
    folder: str = ""
    free: int = 0

    def text(self, size: int) -> str:
        """A line on `size` bytes of images."""
        into = f"a file in {self.folder} ({self.free / 1e9:.0f} GB free)" if self.folder else "Ray's object store"
        return f"{size / 1e9:.1f} GB decoded, once on every machine, into {into}; there in {self.seconds:.0f} s"


def alternatives(spec: Spec) -> dict[str, Spec]:
    """The trainables of a search space by name, each with its own search space."""
    if isinstance(spec.trainable, str):
        return {spec.trainable: spec}
    options = {str(option[0]): option for option in spec.trainable.options}
    return {name: spec.model_copy(update={"trainable": Choice((option,))}) for name, option in options.items()}


def by_log(spec: Spec, records: Iterable[Record]) -> dict[str, Rate]:
    """The rates of the trainables with a trial that has reported."""
    last: dict[str, list[Report]] = {}
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


@contextmanager
def first_trial(alone: Spec) -> Iterator[tuple[TrialConfig, Store]]:
    """The order of the first trial of a search space, and a scratch store that is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="assay-probe-") as scratch:
        study = Study(alone, Store(scratch))
        order = study.next_order()
        study.log.close()
        assert order is not None  # a new study always has a first order
        yield order, study.store


def probe(name: str, alone: Spec, data: TrainingData, seconds: float) -> Rate:
    """Train the first trial of a trainable in a scratch folder for this long, then evaluate it on some images.

    alone: a search space with this trainable only. Raises whatever the trial raises.
    """
    gpu_memory.give_back()  # of the trainable before
    with first_trial(alone) as (order, store):
        order = replace(order, ladder=())  # of whole images, as at the top rung
        trial = Trial(order, data, store)
        started = time.monotonic()
        while trial.epoch < trial.run.epochs and (not trial.epoch or time.monotonic() - started < seconds):
            trial.train_epoch()
        epoch = (time.monotonic() - started) / trial.epoch
        evaluating = _evaluation(trial, order) / min(alone.evaluation.every, trial.run.epochs)
        seen = f"probe of {trial.epoch} epoch{'s' * (trial.epoch != 1)}"
        return Rate(name, epoch + evaluating, trial.run.epochs, seen, resident_gb())


def _evaluation(trial: Trial, order: TrialConfig) -> float:
    """Seconds of a full evaluation, extrapolated from a few images."""
    images = trial.data.validation
    few = take(images, scoring.some_of_each(images.labels, EVALUATED))
    started = time.monotonic()
    evaluation.evaluate(
        trial.run.detector(), few, order.evaluation, order.evaluation_seed, order.device, order.objectives
    )
    return (time.monotonic() - started) * len(images) / len(few)


def resident_gb() -> float:
    """The peak memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
