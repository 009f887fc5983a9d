"""Deep SVDD: a network trained to map all normals near one fixed centre; the score is the distance to it.

Source: Ruff et al. 2018, "Deep One-Class Classification", section 3; the network of its experiments on CIFAR-10. The
initial weights are random: there is no auto-encoder pretraining.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.data.images import height_and_width
from assay.units import Count, NonNegative, Positive, Real
from trainables._trained import Trained
from trainables.backbones._normalise import Standardise

OFF_ZERO = 0.1
"""Smallest absolute value of a coordinate of the centre: values near 0 could be reached by weights of 0."""


class Sphere(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> squared distance (B,) of their features to the centre, minus that of the sphere.

    There is no bias in the convolutions, the normalisation or the last layer: with one, a network could map everything
    to the centre (section 3.3, proposition 2).
    """

    centre: Tensor
    radius: Tensor

    def __init__(self, channels: int, image_size: int | Sequence[int], width: int, features: int) -> None:
        super().__init__()
        wide = [channels, width, 2 * width, 4 * width]
        blocks = [_block(inputs, outputs) for inputs, outputs in itertools.pairwise(wide)]
        height, across = height_and_width(image_size)
        places = (height // 8) * (across // 8)
        last = nn.Linear(4 * width * places, features, bias=False)
        self.network = nn.Sequential(Standardise(), *blocks, nn.Flatten(), last)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("radius", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous; above 0 outside the sphere."""
        return self.distances(images) - self.radius.square()

    def distances(self, images: Tensor) -> Tensor:
        """Squared distances (B,) to the centre."""
        squares: Tensor = (self.network(images) - self.centre).square()
        return squares.sum(dim=1)

    @torch.no_grad()
    def fit_centre(self, normals: Tensor, batch: int = 128) -> None:
        """Set the centre to the mean feature of normals (N, C, H, W), in one pass in training mode.

        In eval mode, the running statistics of an untrained network would not fit the data.
        """
        mean = torch.cat([self.network(part) for part in torch.split(normals, batch)]).mean(dim=0)
        away = torch.where(mean < 0, -OFF_ZERO, OFF_ZERO)
        self.centre = torch.where(mean.abs() < OFF_ZERO, away, mean)


def _block(inputs: int, outputs: int) -> nn.Module:
    """A 5 x 5 convolution without bias, normalisation and leaky ReLU, then halving of the side."""
    convolution = nn.Conv2d(inputs, outputs, 5, padding=2, bias=False)
    nn.init.xavier_uniform_(convolution.weight, nn.init.calculate_gain("leaky_relu", 0.1))
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, affine=False), nn.LeakyReLU(0.1), nn.MaxPool2d(2))


class DeepSvdd(Trained):
    """A network that maps the train normals near a fixed centre; scores by the squared distance to it."""

    network: Sphere

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 50,
        batch_size: Count = 64,
        learning_rate: Positive = 1e-4,
        weight_decay: NonNegative = 1e-6,
        objective: Literal["one_class", "soft_boundary"] = "one_class",
        nu: Annotated[Real, Gt(0), Lt(1)] = 0.1,
        warm_up: Annotated[int, Ge(0)] = 10,
        width: Annotated[int, Ge(4), Le(128)] = 32,
        features: Annotated[int, Ge(2), Le(1024)] = 128,
    ) -> None:
        """Prepare a run on train normals; the paper trains for 250 epochs, with a batch of 200.
        objective: one_class pulls all normals to the centre, soft_boundary only those outside a sphere. nu: share of
        normals left outside (soft_boundary). warm_up: epochs before the sphere gets a radius (soft_boundary). width:
        of the first of three convolutions, each twice as wide as the one before. features: size of the output.
        """
        self.epochs, self.batch_size, self.nu, self.warm_up = epochs, batch_size, nu, warm_up
        self.soft, self.epoch = objective == "soft_boundary", 0
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        channels, *image_size = self.normals.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = Sphere(channels, image_size, width, features).to(device)
        self.network.fit_centre(self.normals)
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate, weight_decay=weight_decay)

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], width: int, features: int, **unused: Any
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return Sphere(channels, image_size, width, features)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the normals in random order; returns the mean loss, and the radius if there is one."""
        self.network.train()
        parts = [self._train_step(normals) for normals in self.shuffled()]
        self.epoch += 1
        figures = {"loss": sum(loss for loss, _ in parts) / len(parts)}
        if self.soft and self.epoch >= self.warm_up:
            self.network.radius = torch.cat([distances for _, distances in parts]).sqrt().quantile(1 - self.nu)
            figures["radius"] = float(self.network.radius)
        return figures

    def _train_step(self, normals: Tensor) -> tuple[float, Tensor]:
        """The loss of a batch, and the squared distances (B,) in it."""
        distances, inside = self.network.distances(normals), self.network.radius.square()
        loss = inside + (distances - inside).relu().mean() / self.nu if self.soft else distances.mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return float(loss.detach()), distances.detach()

    def state_dict(self) -> dict[str, Any]:
        """Weights with centre and radius, optimiser, generator and epoch."""
        return {**super().state_dict(), "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state)
        self.epoch = state["epoch"]
