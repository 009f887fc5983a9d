"""Connects Ray Tune to a study and its meter: orders go out, reports and failures come in. Tune retries nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from assay.cluster import ray_failures
from assay.cluster.idle_warning import Waiting
from assay.cluster.metrics import Board
from assay.store.trial_log import Spending
from assay.sweeps.budget import Meter
from assay.sweeps.study import Study
from assay.sweeps.tune_worker import TuneConfig, TuneResult

Answer = TypeVar("Answer")


class Stateless:
    """Pickled by Tune now and then, but never needed again: the trial log is the state."""

    def __getstate__(self) -> dict[str, object]:
        """Nothing."""
        return {}


class StudySearcher(Stateless, Searcher):  # type: ignore[misc]
    """Gives Tune the study's next order. One that is handed out again is a new trial to Tune."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self.study = study
        self.numbers: dict[str, int] = {}  # Tune's trial id -> our number, for those that Tune runs
        self.error: Exception | None = None  # what went wrong in the study; Tune would bury it in a traceback

    def suggest(self, trial_id: str) -> TuneConfig | str | None:
        """The next order as a Tune configuration; None for now if a running trial may have to be begun again."""
        order = self.noted(self.study.next_order)
        if order is None:
            return None if self.numbers and not self.error else Searcher.FINISHED
        self.numbers[trial_id] = order.number
        return {"order": asdict(order)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Forget a trial whose report said that it ended; one that lost its worker goes to `lost`, which knows why."""
        if not error:
            self.numbers.pop(trial_id, None)

    def began(self, trial_id: str) -> None:
        """A worker has begun a trial."""
        number = self.numbers.get(trial_id)
        if number is not None:
            self.noted(lambda: self.study.began(number))

    def lost(self, trial_id: str, error: BaseException) -> None:
        """A trial's worker is gone: the study ends the trial or hands it out again."""
        number = self.numbers.pop(trial_id, None)
        if number is not None:
            self.noted(lambda: self.study.failed(number, ray_failures.kind(error), ray_failures.message(error)))

    def noted(self, ask: Callable[[], Answer]) -> Answer | None:
        """What the study answers; None if it raises, which ends the sweep."""
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - kept, and raised when Tune has ended its run
            self.error = self.error or error
            return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is the state."""


class FailureCallback(Stateless, tune.Callback):  # type: ignore[misc]
    """Tells the searcher why a trial's worker is gone."""

    def __init__(self, searcher: StudySearcher) -> None:
        self.searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune has given the trial up."""
        self.searcher.lost(trial.trial_id, cause(trial))


def cause(trial: Trial) -> Any:
    """The exception that Tune has just noted for a trial."""
    file = trial.pickled_error_file  # this process wrote it, a moment ago
    if file and Path(file).is_file():
        return ray.cloudpickle.loads(Path(file).read_bytes())
    return ray.exceptions.RayActorError()


class StudyStopper(Stateless, tune.Stopper):  # type: ignore[misc]
    """Asks the study about every report whether its trial stops; ends the sweep when the budget is used up."""

    def __init__(self, study: Study, searcher: StudySearcher, meter: Meter) -> None:
        self.study, self.searcher, self.meter = study, searcher, meter

    def __call__(self, trial_id: str, result: TuneResult) -> bool:
        """Whether the trial that reported must stop."""
        if "report" not in result:
            return False
        number = self.searcher.numbers.get(trial_id)
        if number is None:
            return True
        return self.searcher.noted(lambda: self.study.report(number, result["report"])) is not False

    def stop_all(self) -> bool:
        """Whether the sweep must end: an error, Ctrl-C, or a budget that is used up."""
        if not self.study.interrupted and self.meter.over():
            self.study.interrupted = "budget"
        return bool(self.study.interrupted or self.searcher.error)


class BudgetCallback(Stateless, tune.Callback):  # type: ignore[misc]
    """Tells the meter and the searcher which trials hold their resources, and logs the meter's notes now and then.

    idle: warns when no trial has held any for long.
    """

    def __init__(
        self, meter: Meter, searcher: StudySearcher, append: Callable[[Spending], object], idle: Waiting
    ) -> None:
        self.meter, self.searcher, self.append, self.idle = meter, searcher, append, idle

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial holds a worker."""
        self.meter.begins(trial.trial_id)
        self.searcher.began(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has ended, or was stopped."""
        self.meter.ends(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its worker died."""
        self.meter.ends(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Write a note when it is time for one, and warn if trials only wait."""
        self.write()
        self.idle.look(self.meter.running > 0)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """None holds a worker any more, not even one that was stopped in the middle; write the last note."""
        for trial in trials:
            self.meter.ends(trial.trial_id)
        self.write(now=True)

    def write(self, *, now: bool = False) -> None:
        """The meter's note to the log, if there is one."""
        if note := self.meter.note(now=now):
            self.append(note)


class BoardCallback(Stateless, tune.Callback):  # type: ignore[misc]
    """Says on the board how the sweep goes."""

    def __init__(self, board: Board, study: Study, meter: Meter) -> None:
        self.board, self.study, self.meter = board, study, meter

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Say it when it is time."""
        if self.board.due():
            self.show()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """The last figures."""
        self.show()

    def show(self) -> None:
        """What the log and the meter say now."""
        spec, records = self.study.spec, self.study.records
        ended = Counter(record.state for record in records.values() if record.state != "running")
        total, training = max(spec.trials, len(records)), self.meter.running
        states = {name: ended[name] for name in ("complete", "pruned", "failed")}
        states |= {"training": training, "waiting": max(0, total - ended.total() - training)}
        spent, price = self.meter.spent(), spec.budget.price
        units = {"CPU-hours": spent.cpu_hours, "GPU-hours": spent.gpu_hours}
        units |= {price.currency: spent.cost(price)} if price else {}
        reports = sum(len(record.reports) for record in records.values())
        self.board.sweep(spec.name, states, reports, training * spec.resources.gpu, units)


class NewestPendingFirst(FIFOScheduler):  # type: ignore[misc]
    """A worker that comes free takes the newest trial that waits.

    An older one waits for a worker that is still starting. Tune would give it the free one and end the other, so that
    trials shorter than a worker's start would all run in one worker, while others are started and ended beside it.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The newest trial without a running worker."""
        known = reversed(tune_controller.get_trials())
        return next((trial for trial in known if trial.status == Trial.PENDING), None)
