"""Points of low discrepancy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from assay.sweeps.draw import Draw


class Sobol(optuna.samplers.QMCSampler):
    """Points of one scrambled Sobol sequence; parameters missing in the first trial are drawn at random."""

    def __init__(self, seed: int, trial_seed: int, number: int) -> None:
        rest = optuna.samplers.RandomSampler(seed=trial_seed)
        super().__init__(seed=seed, scramble=True, independent_sampler=rest, warn_independent_sampling=False)
        self.number = number

    def _find_sample_id(self, study: optuna.Study, search_space: Mapping[str, Any]) -> int:
        """The trial's own number: Optuna counts in memory and would start over after a resume."""
        return self.number


def qmc(draw: Draw) -> optuna.samplers.BaseSampler:
    """Points of a scrambled Sobol sequence, which fill the space more evenly than random ones. Source: Sobol 1967."""
    return Sobol(draw.sweep_seed, draw.seed, draw.number)
