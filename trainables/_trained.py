"""Shared base of runs that train one network on shuffled normals with one optimiser."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class Trained:
    """The detector is the network itself; the training state is network, optimiser and generator.

    normals: (N, C, H, W) in [0, 1]. The constructor sets everything.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    normals: Tensor
    batch_size: int

    def shuffled(self) -> Iterator[Tensor]:
        """The normals in random order, one batch at a time."""
        order = torch.randperm(len(self.normals), generator=self.generator, device=self.generator.device)
        for part in torch.split(order, self.batch_size):
            yield self.normals[part]

    def detector(self) -> nn.Module:
        """A frozen copy of the current network."""
        return copy.deepcopy(self.network).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser and generator."""
        parts = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**parts, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
