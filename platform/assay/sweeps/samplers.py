"""What draws a sweep's trials: Optuna's samplers, mended where a resumed or a long sweep needs it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from assay.config.search_space import Spec
from assay.sweeps.history import History


def trial_seed(seed: int, number: int) -> int:
    """The training seed of a trial: different for every trial of a sweep, the same whenever it is run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def sampler(spec: Spec, number: int, history: History) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`, seeded by the sweep's seed and that number.

    A fresh one each time: a sampler's own random state would be lost with the process, a number is in the log.
    """
    seed, search = trial_seed(spec.search.seed + 1, number), spec.search
    if search.sampler == "tpe":
        return Tpe(history, seed=seed, n_startup_trials=search.startup)
    if search.sampler == "nsga2":
        return Generations(seed=seed, population_size=search.startup)
    if search.sampler == "grid":
        return Grid(seed=seed)
    if search.sampler == "qmc":
        return Sobol(search.seed, seed, number)
    return optuna.samplers.RandomSampler(seed=seed)


class Tpe(optuna.samplers.TPESampler):
    """TPE that looks at the part of the trials that a History shows; for one trial."""

    def __init__(self, history: History, **options: Any) -> None:
        super().__init__(**options)
        self.history = history
        self._part: Part | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As Optuna's, of the part."""
        return super().infer_relative_search_space(self.part(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's, of the part."""
        return super().sample_relative(self.part(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As Optuna's, of the part."""
        return super().sample_independent(self.part(study), trial, param_name, param_distribution)

    def part(self, study: optuna.Study) -> Part:
        """The study as this sampler sees it."""
        if self._part is None:
            self._part = Part(study, self.history)
        return self._part


class Part(optuna.Study):
    """A study of which only the trials are seen that a History shows."""

    def __init__(self, study: optuna.Study, history: History) -> None:
        self.__setstate__(study.__getstate__())
        trials = study.get_trials(deepcopy=False)
        self.shown = [trials[number] for number in history.shown()]

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self.shown if states is None or trial.state in states]


class Generations(optuna.samplers.NSGAIISampler):
    """NSGA-II whose parents always come in the order of their numbers."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """As Optuna gives them except for the first time, which is another trial after a resume."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


class Grid(optuna.samplers.BruteForceSampler):
    """Every point of the space once, in random order."""

    def after_trial(self, *told: Any) -> None:
        """Nothing: Optuna would stop its own loop after the last point, and there is none. Spec.trials says when."""


class Sobol(optuna.samplers.QMCSampler):
    """Points of one scrambled Sobol sequence; parameters that the first trial has not are drawn at random."""

    def __init__(self, seed: int, trial_seed: int, number: int) -> None:
        rest = optuna.samplers.RandomSampler(seed=trial_seed)
        super().__init__(seed=seed, scramble=True, independent_sampler=rest, warn_independent_sampling=False)
        self.number = number

    def _find_sample_id(self, study: optuna.Study, search_space: Mapping[str, Any]) -> int:
        """The trial's own number: Optuna counts in memory, and would begin again after a resume."""
        return self.number
