"""Gaussian processes."""

from __future__ import annotations

import optuna

from assay.sweeps.draw import Draw
from assay.sweeps.samplers._windowed import Windowed

MOST = 200
"""Ended trials that it is fitted to: its time grows with the cube of their number."""


class Gaussian(Windowed, optuna.samplers.GPSampler):
    """Optuna's GPSampler on a window of the trials."""

    most = MOST


def gp(draw: Draw) -> optuna.samplers.BaseSampler:
    """Gaussian processes with expected (hypervolume) improvement. Any space, constraints; few, expensive trials.

    Each draw takes a second or so, more as trials get more. Source: Optuna's GPSampler; Jones et al. 1998.
    """
    rest = optuna.samplers.RandomSampler(seed=draw.seed)
    made = Gaussian(
        seed=draw.seed, n_startup_trials=draw.startup, independent_sampler=rest, warn_independent_sampling=False
    )
    made.window = draw.window
    return made
