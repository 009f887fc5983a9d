"""Tree-structured Parzen estimator."""

from __future__ import annotations

import optuna

from assay.sweeps.draw import Draw
from assay.sweeps.samplers._windowed import Windowed


class Parzen(Windowed, optuna.samplers.TPESampler):
    """Optuna's TPE on a window of the trials: it sorts all it sees for every parameter that it draws."""


def tpe(draw: Draw) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimator: what separates good trials from others. Any space; many trials.

    Source: Bergstra et al. 2011; several objectives: Ozaki et al. 2022.
    """
    made = Parzen(seed=draw.seed, n_startup_trials=draw.startup)
    made.window = draw.window
    return made
