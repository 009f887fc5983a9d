"""Every point of a finite space."""

from __future__ import annotations

from typing import Any

import optuna

from assay.sweeps.draw import Draw


class EveryPoint(optuna.samplers.BruteForceSampler):
    """Optuna's, which does not end the sweep."""

    def after_trial(self, *arguments: Any) -> None:
        """Nothing: Optuna would stop its own loop after the last point, which is not used; Spec.trials decides."""


def grid(draw: Draw) -> optuna.samplers.BaseSampler:
    """Every point of a finite space once, in random order."""
    return EveryPoint(seed=draw.seed)
