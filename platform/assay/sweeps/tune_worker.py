"""A warm worker: the Ray Tune trainable that runs one trial after another in one process."""

from __future__ import annotations

import functools
import gc
import platform
import traceback
from typing import NotRequired, TypedDict

from ray import tune

from assay.cluster import image_blocks
from assay.cluster.image_blocks import Blocks
from assay.cluster.worker_logs import OwnLog
from assay.contracts import Plain, TrainingData
from assay.redaction import redacted
from assay.runtime import gpu_memory, retry, versions
from assay.store.store import Store
from assay.store.trial_log import TrialFailure, TrialReport
from assay.sweeps.trial import Trial, TrialConfig


class TuneConfig(TypedDict):
    """What Tune passes to a worker. order: the fields of a TrialConfig."""

    order: Plain


class TuneResult(TypedDict):
    """What a worker passes to Tune, which adds keys of its own; a result that Tune makes itself has no report."""

    report: NotRequired[TrialReport | TrialFailure]
    done: bool


class Worker(tune.Trainable):  # type: ignore[misc]
    """Steps a Trial. Failures are reported, not raised: the process is still good for another trial."""

    trial: Trial | None

    def setup(
        self, config: TuneConfig, data: TrainingData | Blocks, root: str, gpus: float = 0.0, logs: str = ""
    ) -> None:
        """Begin the first trial of this process; `data` comes from the object store, shared by all trials of a node.

        gpus: the share of a GPU that each trial takes. logs: the folder of the store in which this worker's are kept.
        """
        gpu_memory.keep_to(gpus)
        self.sent, self.root = data, root
        self.data: TrainingData | None = None
        self.log = OwnLog(Store(root), logs) if logs else None
        self.begin(config)

    def reset_config(self, new_config: TuneConfig) -> bool:
        """Begin the next trial in the same process: imports and data stay, other memory is given back."""
        self.trial = None
        free_memory()
        self.begin(new_config)
        return True

    def begin(self, config: TuneConfig) -> None:
        """Build the trial or restore it from its own checkpoint."""
        self.trial = None
        self.failure: TrialFailure | None = None
        try:
            versions.check()
            if self.data is None:
                self.data = image_blocks.here(self.sent)
            self.trial = Trial(TrialConfig(**config["order"]), self.data, Store(self.root))
        except Exception as error:  # noqa: BLE001 - every failure of a trial is reported with its kind
            retry.leave_if_gpu_lost(error)
            self.failure = failed(error)

    def step(self) -> TuneResult:
        """One report, as `report`, and `done` for Tune."""
        result = self._step()
        if self.log:
            self.log.keep(now=result["done"])
        return result

    def _step(self) -> TuneResult:
        if self.trial is not None and self.failure is None:
            try:
                report = self.trial.step()
                return {"report": {**report, "node": platform.node()}, "done": report["done"]}
            except Exception as error:  # noqa: BLE001 - every failure of a trial is reported with its kind
                retry.leave_if_gpu_lost(error)
                self.failure = failed(error)
        assert self.failure is not None  # without one there is a trial
        return {"report": self.failure, "done": True}


def free_memory() -> None:
    """Give back what an earlier trial of this process holds, of a GPU as well."""
    gpu_memory.give_back()
    _set_modules_aside()


@functools.cache
def _set_modules_aside() -> None:
    """Once for a process: no later collection looks at what is there now; PyTorch's modules alone take it 0.1 s."""
    gc.freeze()


def failed(error: Exception) -> TrialFailure:
    """A report of a failure: its kind, a line for a person, and for a bug the traceback."""
    kind = retry.kind(error)
    message = f"{type(error).__name__}: {error}" if kind == "bug" else str(error) or type(error).__name__
    if kind == "bug":
        message += "\n" + "".join(traceback.format_exception(error))
    return {"failure": kind, "message": redacted(message)}
