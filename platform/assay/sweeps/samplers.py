"""What draws a sweep's trials: Optuna's samplers, changed where a resumed or a long sweep needs it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from assay.config.search_space import Spec
from assay.sweeps.nondominated import NondominatedFronts, Point, SortedScores

ENDED, RUNNING = 500, 200  # how many trials of each are in the window


def trial_seed(seed: int, number: int) -> int:
    """The training seed of a trial: different for every trial of a sweep, the same whenever it is run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def sampler(spec: Spec, number: int, window: TrialWindow) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`, seeded by the sweep's seed and that number.

    A fresh one each time: a sampler's own random state would be lost with the process, a number is in the log.
    """
    seed, search = trial_seed(spec.search.seed + 1, number), spec.search
    if search.sampler == "tpe":
        return Tpe(window, seed=seed, n_startup_trials=search.startup)
    if search.sampler == "nsga2":
        return Generations(seed=seed, population_size=search.startup)
    if search.sampler == "grid":
        return Grid(seed=seed)
    if search.sampler == "qmc":
        return Sobol(search.seed, seed, number)
    return optuna.samplers.RandomSampler(seed=seed)


class TrialWindow:
    """The trials that a sampler looks at: all of a short sweep, of a long one the part that matters.

    Optuna's TPE sorts every trial it can see anew for every parameter it draws, so asking grows slower with each trial.
    It looks for what tells good trials from others, and learns little from the thousandth poor one. Which trials are
    in the window follows from how they stand, not from the order in which they ended.
    """

    def __init__(self, ended: int, running: int) -> None:
        """How many of those that ended, and of those that run, are looked at."""
        self.most_ended, self.most_running = ended, running
        self._running: set[int] = set()
        self._ended: list[int] = []  # complete or pruned, ascending
        self._best: SortedScores | NondominatedFronts | None = None

    def note(self, number: int, state: str, point: Point = ()) -> None:
        """Take in how a trial stands now, as its Record says; point: of a complete one, its figures to be maximised."""
        self._running.discard(number)
        if state == "running":
            self._running.add(number)
        elif state in ("complete", "pruned"):  # a trial that failed says nothing of its configuration
            insort(self._ended, number)
        if state == "complete":
            if self._best is None:
                self._best = SortedScores() if len(point) == 1 else NondominatedFronts()
            self._best.add(point, number)

    def shown(self) -> Sequence[int]:
        """The trials to look at, ascending.

        Of those that ended the better half are the best of the complete ones, the rest the newest; of those that run
        the newest.
        """
        running = sorted(self._running)[-self.most_running :]
        ended = self._ended
        if len(ended) > self.most_ended:
            best = set(self._best.first(self.most_ended // 2) if self._best else ())
            rest = (number for number in reversed(ended) if number not in best)
            ended = [*best, *(number for number, _ in zip(rest, range(self.most_ended - len(best)), strict=False))]
        return sorted([*ended, *running])


class Tpe(optuna.samplers.TPESampler):
    """TPE that looks only at the trials in a TrialWindow; made for one trial."""

    def __init__(self, window: TrialWindow, **options: Any) -> None:
        super().__init__(**options)
        self.window = window
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
            self._part = Part(study, self.window)
        return self._part


class Part(optuna.Study):
    """A study of which only the trials in a TrialWindow can be seen."""

    def __init__(self, study: optuna.Study, window: TrialWindow) -> None:
        self.__setstate__(study.__getstate__())
        trials = study.get_trials(deepcopy=False)
        self.shown = [trials[number] for number in window.shown()]

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
