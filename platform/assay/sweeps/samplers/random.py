"""Random configurations."""

from __future__ import annotations

import optuna

from assay.sweeps.draw import Draw


def random(draw: Draw) -> optuna.samplers.BaseSampler:
    """Every configuration drawn on its own, from the domains as they are. Source: Bergstra & Bengio 2012."""
    return optuna.samplers.RandomSampler(seed=draw.seed)
