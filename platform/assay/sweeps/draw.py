"""What a trial is drawn by: a sampler of the shelf, seeded by the trial, which sees a bounded part of the trials."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from assay import shelves
from assay.config import space
from assay.config.search_space import Spec
from assay.sweeps.nondominated import NondominatedFronts, Point, SortedScores

ENDED, RUNNING = 500, 200  # trials of each kind in the window


OWN_DRAWS, DRAWS = 8, 100
"""Draws by the sampler itself until one is new, and draws at most: what is left has then hardly any chance."""


def trial_seed(seed: int, number: int) -> int:
    """The training seed of a trial: different for every trial of a sweep, the same each time the trial is run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


@dataclass(frozen=True)
class Draw:
    """What a sampler is made for: one trial.

    seed: of this trial and draw. sweep_seed: of the sweep. startup: trials that are drawn at random first. window: the
    trials that a model-based sampler looks at. attempt: how many draws for this trial were not new.
    """

    number: int
    seed: int
    sweep_seed: int
    startup: int
    window: TrialWindow
    attempt: int = 0


def sampler(spec: Spec, number: int, window: TrialWindow, attempt: int = 0) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`, seeded by the sweep's seed and that number.

    A new one for each trial: the state of a sampler would be lost with the process, but the number is in the log.
    attempt: how many draws for this trial were configurations that an earlier trial has. After OWN_DRAWS of them
    another sampler takes over: one that lists what was not tried yet, or draws at random where there is no end of it.
    """
    name, seed = spec.search.sampler, trial_seed(spec.search.seed + 1, number)
    if attempt:
        seed = int(np.random.SeedSequence([spec.search.seed + 1, number, attempt]).generate_state(1)[0])
    if attempt >= (1 if name == "qmc" else OWN_DRAWS):  # a point of a Sobol sequence stays the same
        listed = space.size(spec.domains) is not None and not spec.search.start_from  # which it would leave out
        name = "grid" if listed else "random"
    made: optuna.samplers.BaseSampler = shelves.load("samplers", name)(
        Draw(number, seed, spec.search.seed, spec.search.startup, window, attempt)
    )
    return made


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

    def shown(self, most: int | None = None) -> Sequence[int]:
        """The trials in the window, ascending; most: how many ended ones, where they are to be fewer.

        Of the ended trials, half are the best complete ones and the rest are the newest; of the running ones, the
        newest.
        """
        running = sorted(self._running)[-self.most_running :]
        ended, most = self._ended, min(most or self.most_ended, self.most_ended)
        if len(ended) > most:
            best = set(self._best.first(most // 2) if self._best else ())
            rest = (number for number in reversed(ended) if number not in best)
            ended = [*best, *(number for number, _ in zip(rest, range(most - len(best)), strict=False))]
        return sorted([*ended, *running])
