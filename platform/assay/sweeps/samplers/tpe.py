"""Tree-structured Parzen estimator."""

from __future__ import annotations

import optuna

from assay.sweeps.draw import Draw
from assay.sweeps.samplers._windowed import Windowed

CANDIDATES = 24
"""What it draws from the model of good trials, to take the best of them; Optuna's own number."""


class Parzen(Windowed, optuna.samplers.TPESampler):
    """Optuna's TPE on a window of the trials: it sorts all it sees for every trial that it draws."""


def tpe(draw: Draw) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimator: what separates good trials from others. Any space; many trials.

    Parameters that occur together are drawn together, as what is good of one depends on the other. Where the draw is a
    configuration that was tried, the next one is the best of half as many candidates, in the end any good one.
    Source: Bergstra et al. 2011; several objectives: Ozaki et al. 2022; together: Falkner et al. 2018.
    """
    made = Parzen(
        seed=draw.seed,
        n_startup_trials=draw.startup,
        n_ei_candidates=max(1, CANDIDATES >> draw.attempt),
        multivariate=True,
        group=True,
    )
    made.window = draw.window
    return made
