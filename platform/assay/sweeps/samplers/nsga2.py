"""The genetic algorithm NSGA-II."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

from assay.sweeps.draw import Draw


class Generations(optuna.samplers.NSGAIISampler):
    """NSGA-II whose parents are always ordered by trial number."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Optuna's result in a fixed order; Optuna's own depends on which trial is seen first after a resume."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


def nsga2(draw: Draw) -> optuna.samplers.BaseSampler:
    """NSGA-II, generations of `startup` trials each. Any space, constraints; hundreds of cheap trials.

    Source: Deb et al. 2002.
    """
    return Generations(seed=draw.seed, population_size=draw.startup)
