"""Lipschitz: a network whose score a change of l2 norm r moves by at most r, trained on the margin proven at a radius.

Source: orthogonal layers by the Cayley transform (Trockman and Kolter 2021), sorted pairs as activation (Anil et al.
2019, "Sorting out Lipschitz function approximation"), 1 x 1 mixing with shifted channels instead of convolutions (the
idea of LipNeXt, 2026).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import TrainingData
from assay.shelves import Item
from assay.units import Count, NonNegative, Positive
from trainables._lipschitz import LipschitzNetwork
from trainables._trained import Trained
from trainables.pseudo_anomalies._items import OnPixels, ready


class Lipschitz(Trained):
    """A network that moves its score no further than an image is moved in l2, trained on the proven margin."""

    network: LipschitzNetwork

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 20,
        steps_per_epoch: Count = 20,
        batch_size: Count = 48,
        learning_rate: Positive = 3e-3,
        first: Literal[2, 4, 8] = 4,
        depth: Annotated[int, Ge(1), Le(4)] = 3,
        pseudo_anomaly: OnPixels = Item("pseudo_anomalies", "shade", {"polarity": "both"}),
        radius: NonNegative = 0.25,
        sharpness: Positive = 0.25,
    ) -> None:
        """Prepare a run on train normals and their pseudo-anomalies, as many of each in a batch.

        first: side of the blocks of pixels that become channels at first; each of the `depth` stages after that folds
        2 x 2 places more. radius: in l2, at which the margin is proven; every step draws one from 0 to it. sharpness:
        the difference of scores that separates two images.
        """
        self.epochs, self.steps_per_epoch, self.batch_size = epochs, steps_per_epoch, batch_size
        self.radius, self.sharpness = radius, sharpness
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.make_anomalous = ready(pseudo_anomaly, self.normals)
        channels, *image_size = self.normals.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = LipschitzNetwork(channels, image_size, first=first, depth=depth).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate)

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], first: int, depth: int, **unused: Any
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return LipschitzNetwork(channels, image_size, first=first, depth=depth)

    def train_epoch(self) -> dict[str, float]:
        """Train on that many batches; returns the mean loss."""
        self.network.train()
        return {"margin": sum(self._train_step() for _ in range(self.steps_per_epoch)) / self.steps_per_epoch}

    def _train_step(self) -> float:
        device = self.generator.device
        rows = torch.randperm(len(self.normals), generator=self.generator, device=device)[: self.batch_size]
        normals = self.normals[rows]
        anomalies = self.make_anomalous(normals, self.generator).images
        radius = self.radius * float(torch.rand((), generator=self.generator, device=device))
        loss = self.proven_margin(normals, anomalies, radius)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return float(loss.detach())

    def proven_margin(self, normals: Tensor, anomalies: Tensor, radius: float) -> Tensor:
        """The loss on all pairs of a normal's highest and an anomaly's lowest score within the radius."""
        scores = self.network(torch.cat([normals, anomalies]))
        usual, unusual = scores[: len(normals)], scores[len(normals) :]
        gaps = unusual[:, None] - usual[None] - 2 * radius
        return F.softplus(0.5 - gaps / self.sharpness).mean()

    def detector(self) -> nn.Module:
        """A frozen copy of the current network, its matrices settled."""
        found = copy.deepcopy(self.network).eval().requires_grad_(False)
        found.settle()
        return found
