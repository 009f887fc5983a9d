"""Optuna's samplers, modified where a resumed or a long sweep needs it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from assay.config import space
from assay.config.search_space import Spec
from assay.contracts import Plain
from assay.sweeps.nondominated import NondominatedFronts, Point, SortedScores

ENDED, RUNNING = 500, 200  # trials of each kind in the window


OWN_DRAWS, DRAWS = 5, 100
"""Draws by the sampler itself until one is new, and draws at most: what is left has then hardly any chance."""


def trial_seed(seed: int, number: int) -> int:
    """The training seed of a trial: different for every trial of a sweep, the same each time the trial is run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def sampler(spec: Spec, number: int, window: TrialWindow, attempt: int = 0) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`, seeded by the sweep's seed and that number.

    A new one for each trial: the state of a sampler would be lost with the process, but the number is in the log.
    attempt: how many draws for this trial were configurations that an earlier trial has. After OWN_DRAWS of them
    another sampler takes over: one that lists what was not tried yet, or draws at random where there is no end of it.
    """
    search = spec.search
    seed = trial_seed(search.seed + 1, number)
    if attempt:
        seed = int(np.random.SeedSequence([search.seed + 1, number, attempt]).generate_state(1)[0])
    if attempt >= (1 if search.sampler == "qmc" else OWN_DRAWS):  # a point of a Sobol sequence stays the same
        finite = space.size(spec.domains) is not None
        return Grid(seed=seed) if finite else optuna.samplers.RandomSampler(seed=seed)
    if search.sampler == "tpe":
        return Tpe(window, seed=seed, n_startup_trials=search.startup)
    if search.sampler == "nsga2":
        return Generations(seed=seed, population_size=search.startup)
    if search.sampler == "grid":
        return Grid(seed=seed)
    if search.sampler == "qmc":
        return Sobol(search.seed, seed, number)
    return optuna.samplers.RandomSampler(seed=seed)


class Redrawable(optuna.storages.InMemoryStorage):
    """A storage that can take back the newest trial, whose configuration was tried before."""

    def take_back(self, study: optuna.Study) -> None:
        """Forget the newest trial; the next one gets its number."""
        trial = self._studies[study._study_id].trials.pop()
        del self._trial_id_to_study_id_and_number[trial._trial_id]


class TrialWindow:
    """The trials a sampler sees: all of a short sweep, and the relevant ones of a long sweep.

    Optuna's TPE sorts all trials it sees for every parameter it draws, so each new trial takes longer to draw. TPE
    looks for what separates good trials from others and learns little from the thousandth poor one. Which trials are in
    the window depends on their results, not on the order in which they ended.
    """

    def __init__(self, ended: int, running: int) -> None:
        """ended, running: how many trials of each kind are in the window."""
        self.most_ended, self.most_running = ended, running
        self._running: set[int] = set()
        self._ended: list[int] = []  # complete or pruned, ascending
        self._best: SortedScores | NondominatedFronts | None = None

    def note(self, number: int, state: str, point: Point = ()) -> None:
        """Record the current state of a trial, as in its Record; point: its figures to be maximised, if complete."""
        self._running.discard(number)
        if state == "running":
            self._running.add(number)
        elif state in ("complete", "pruned"):  # a failed trial says nothing about its configuration
            insort(self._ended, number)
        if state == "complete":
            if self._best is None:
                self._best = SortedScores() if len(point) == 1 else NondominatedFronts()
            self._best.add(point, number)

    def shown(self) -> Sequence[int]:
        """The trials in the window, ascending.

        Of the ended trials, half are the best complete ones and the rest are the newest; of the running ones, the
        newest.
        """
        running = sorted(self._running)[-self.most_running :]
        ended = self._ended
        if len(ended) > self.most_ended:
            best = set(self._best.first(self.most_ended // 2) if self._best else ())
            rest = (number for number in reversed(ended) if number not in best)
            ended = [*best, *(number for number, _ in zip(rest, range(self.most_ended - len(best)), strict=False))]
        return sorted([*ended, *running])


class Tpe(optuna.samplers.TPESampler):
    """TPE that sees only the trials in a TrialWindow; made for one trial."""

    def __init__(self, window: TrialWindow, **options: Any) -> None:
        super().__init__(**options)
        self.window = window
        self._part: Part | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Optuna's method, on the trials in the window."""
        return super().infer_relative_search_space(self.part(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Plain:
        """Optuna's method, on the trials in the window."""
        return super().sample_relative(self.part(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Optuna's method, on the trials in the window."""
        return super().sample_independent(self.part(study), trial, param_name, param_distribution)

    def part(self, study: optuna.Study) -> Part:
        """The study as this sampler sees it."""
        if self._part is None:
            self._part = Part(study, self.window)
        return self._part


class Part(optuna.Study):
    """A study that shows only the trials in a TrialWindow."""

    def __init__(self, study: optuna.Study, window: TrialWindow) -> None:
        self.__setstate__(study.__getstate__())
        trials = study.get_trials(deepcopy=False)
        self.shown = [trials[number] for number in window.shown()]

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self.shown if states is None or trial.state in states]


class Generations(optuna.samplers.NSGAIISampler):
    """NSGA-II whose parents are always ordered by trial number."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Optuna's result in a fixed order; Optuna's own depends on which trial is seen first after a resume."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


class Grid(optuna.samplers.BruteForceSampler):
    """Every point of the space once, in random order."""

    def after_trial(self, *arguments: Any) -> None:
        """Nothing: Optuna would stop its own loop after the last point, which is not used; Spec.trials decides."""


class Sobol(optuna.samplers.QMCSampler):
    """Points of one scrambled Sobol sequence; parameters missing in the first trial are drawn at random."""

    def __init__(self, seed: int, trial_seed: int, number: int) -> None:
        rest = optuna.samplers.RandomSampler(seed=trial_seed)
        super().__init__(seed=seed, scramble=True, independent_sampler=rest, warn_independent_sampling=False)
        self.number = number

    def _find_sample_id(self, study: optuna.Study, search_space: Mapping[str, Any]) -> int:
        """The trial's own number: Optuna counts in memory and would start over after a resume."""
        return self.number
