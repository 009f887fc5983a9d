"""Ray Tune's news of workers, for the meter of what a sweep spends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from assay.cluster.idle_warning import Waiting
from assay.sweeps.budget import Meter


class Spending(tune.Callback):  # type: ignore[misc]
    """Tells the meter which trials hold their resources, and the log now and then what the meter says.

    idle: is told whether any trial does.
    """

    def __init__(self, meter: Meter, append: Callable[[Mapping[str, Any]], Any], idle: Waiting) -> None:
        self.meter, self.append, self.idle = meter, append, idle

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial holds a worker."""
        self.meter.begins(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It has ended, or was stopped."""
        self.meter.ends(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its worker died."""
        self.meter.ends(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Write a note when it is time for one, and say so when trials only wait."""
        self.write()
        self.idle.look(self.meter.running)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """None holds a worker any more, not even one that was stopped in the middle; write the last note."""
        for trial in trials:
            self.meter.ends(trial.trial_id)
        self.write(now=True)

    def write(self, *, now: bool = False) -> None:
        """The meter's note to the log, if there is one."""
        if note := self.meter.note(now=now):
            self.append(note)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; ours has nothing to pickle."""
        return {}
