"""Between Ray Tune and the study: orders go out, reports and losses come in. Tune itself is asked to retry nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from assay.cluster import lost
from assay.sweeps.budget import Meter
from assay.sweeps.study import Study

Answer = TypeVar("Answer")


class Plain:
    """What Tune pickles now and then, and never needs again: the trial log is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing."""
        return {}


class Asker(Plain, Searcher):  # type: ignore[misc]
    """Gives Tune the study's next order; one that is handed out again is a new trial to Tune."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self.study = study
        self.numbers: dict[str, int] = {}  # Tune's trial id -> our number, of those that Tune runs
        self.error: Exception | None = None  # what went wrong in the study; Tune would bury it in a traceback

    def suggest(self, trial_id: str) -> Any:
        """The next order as a Tune configuration; None for now where one that runs may have to be begun again."""
        order = self.noted(self.study.next_order)
        if order is None:
            return None if self.numbers and not self.error else Searcher.FINISHED
        self.numbers[trial_id] = order.number
        return {"order": asdict(order)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """A trial that ended has said so in its report; one that was lost comes to `lost`, which knows why."""
        if not error:
            self.numbers.pop(trial_id, None)

    def lost(self, trial_id: str, error: BaseException) -> None:
        """A trial's worker is gone: the study ends the trial, or hands it out again."""
        number = self.numbers.pop(trial_id, None)
        if number is not None:
            self.noted(lambda: self.study.failed(number, lost.kind(error), lost.told(error)))

    def noted(self, ask: Callable[[], Answer]) -> Answer | None:
        """What the study answers; None where it raises, which ends the sweep."""
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - kept, and raised when Tune has ended its run in order
            self.error = self.error or error
            return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the trial log is the state."""


class Losses(Plain, tune.Callback):  # type: ignore[misc]
    """Tells the asker why a trial's worker is gone."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune has given the trial up."""
        self.asker.lost(trial.trial_id, cause(trial))


def cause(trial: Trial) -> Any:
    """The exception that Tune has just noted for a trial."""
    file = trial.pickled_error_file  # this process wrote it, a moment ago
    if file and Path(file).is_file():
        return ray.cloudpickle.loads(Path(file).read_bytes())
    return ray.exceptions.RayActorError()


class Judge(Plain, tune.Stopper):  # type: ignore[misc]
    """Hands every report to the study, which says whether the trial stops; ends the sweep when the budget is used."""

    def __init__(self, study: Study, asker: Asker, meter: Meter) -> None:
        self.study, self.asker, self.meter = study, asker, meter

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial that reported is to stop."""
        if "report" not in result:
            return False
        number = self.asker.numbers.get(trial_id)
        if number is None:
            return True
        return self.asker.noted(lambda: self.study.report(number, result["report"])) is not False

    def stop_all(self) -> bool:
        """Whether the sweep is to end: an error, Ctrl-C, or a budget that is used up."""
        if not self.study.interrupted and self.meter.over():
            self.study.interrupted = "budget"
        return bool(self.study.interrupted or self.asker.error)
