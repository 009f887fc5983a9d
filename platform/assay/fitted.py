"""A trainable without training: the constructor fits everything from the data and the seed."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


class Fitted:
    """The methods of a run (`assay.contracts.Trainable`) when there is nothing to train or to restore.

    network: the detector, in eval mode and frozen; the constructor sets it.
    """

    epochs = 1
    network: nn.Module

    def train_epoch(self) -> dict[str, float]:
        """Nothing to train."""
        return {}

    def detector(self) -> nn.Module:
        """A copy of the fitted network; it never changes."""
        return copy.deepcopy(self.network)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the constructor rebuilds everything from the data."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
