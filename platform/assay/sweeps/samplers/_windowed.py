"""Samplers that fit a model, shown the trials of a TrialWindow alone."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from assay.contracts import Plain
from assay.sweeps.draw import TrialWindow


class Windowed(optuna.samplers.BaseSampler):
    """Put before a sampler of Optuna; made for one trial."""

    window: TrialWindow
    most: int | None = None
    _part: Part | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Optuna's method, on the trials in the window."""
        return super().infer_relative_search_space(self.part(study), trial)  # type: ignore[safe-super]

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Plain:
        """Optuna's method, on the trials in the window."""
        return super().sample_relative(self.part(study), trial, search_space)  # type: ignore[safe-super]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Optuna's method, on the trials in the window."""
        return super().sample_independent(  # type: ignore[safe-super]
            self.part(study), trial, param_name, param_distribution
        )

    def part(self, study: optuna.Study) -> Part:
        """The study as this sampler sees it."""
        if self._part is None:
            self._part = Part(study, self.window, self.most)
        return self._part


class Part(optuna.Study):
    """A study that shows only the trials in a TrialWindow."""

    def __init__(self, study: optuna.Study, window: TrialWindow, most: int | None = None) -> None:
        self.__setstate__(study.__getstate__())
        trials = study.get_trials(deepcopy=False)
        self.shown = [trials[number] for number in window.shown(most)]

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self.shown if states is None or trial.state in states]
