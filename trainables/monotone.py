"""Monotone: a network that only rises as pixels darken (or brighten), trained on its own exact worst case.

Source: monotone networks by non-negative weights (Sill 1998, "Monotonic Networks"), their bounds as mixed monotone
functions (Coogan and Arcak 2015); that the worst case of a monotone score in an L-infinity ball is one of its two ends,
so that adversarial training on it is exact and costs two passes, is this project's own use of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import TrainingData
from assay.norm_balls import ends
from assay.shelves import Item
from assay.units import Count, Fraction, NonNegative, Positive, Radius
from trainables._adversary import Adversary
from trainables._monotone import MonotoneNetwork
from trainables._trained import Trained
from trainables.pseudo_anomalies._items import OnPixels, ready

COMPARED = 2048
"""Train images, at most, that say what is usual at a place."""
RANGE = (0.5, 2.0)
"""Of epsilon, from which that of a step is drawn."""
GAP = 0.5
"""By how many `sharpness` an anomaly's lowest score should lie above a normal's highest one."""


class Monotone(Trained):
    """A network that only rises as pixels darken or brighten, trained on the margin that is proven of it."""

    network: MonotoneNetwork

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 8,
        steps_per_epoch: Count = 20,
        batch_size: Count = 48,
        learning_rate: Positive = 3e-3,
        average: Annotated[float, Ge(0), Lt(1)] = 0.98,
        polarity: Literal["dark", "bright", "both"] = "both",
        surroundings: Annotated[Fraction, Ge(0), Le(1)] = 0.5,
        quantile: Fraction = 0.97,
        width: Annotated[int, Ge(1), Le(128)] = 8,
        depth: Annotated[int, Ge(0), Le(5)] = 3,
        pseudo_anomaly: OnPixels | None = None,
        epsilon: Radius = 2 / 255,
        sharpness: Positive = 0.03,
        l2: NonNegative = 0.0,
    ) -> None:
        """Prepare a run on train normals and their pseudo-anomalies, as many of each in a batch.

        polarity: whether defects are darker or brighter than normals, or either. It is knowledge of the defects: choose
        one direction by labelled validation anomalies only, else leave `both`. surroundings: side of the window whose
        mean a pixel is compared with, as a share of the image; 0 for none, and the proof is then exact. quantile: of
        the train images at a place, what counts as usual there. width, depth: channels and number of the convolutions;
        depth 0 for none. pseudo_anomaly: what it does against the polarity is undone; by default `shade` of the
        polarity. epsilon: that is trained against, in linf, each step with 0.5 to 2 times as much. sharpness: the
        difference of scores that separates two images. l2: also trains against PGD in l2, up to that radius; 0 for not.
        average: decay of the moving average of the weights, which is the detector; 0 for none.
        """
        self.epochs, self.steps_per_epoch, self.batch_size = epochs, steps_per_epoch, batch_size
        self.average, self.polarity, self.epsilon, self.sharpness = average, polarity, epsilon, sharpness
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        item = pseudo_anomaly or Item("pseudo_anomalies", "shade", {"polarity": polarity})
        self.make_anomalous = ready(item, self.normals)
        self.adversary = Adversary(norm="l2", epsilon=l2, budget="sampled", steps=3)
        channels, *image_size = self.normals.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = MonotoneNetwork(
                channels, image_size, polarity=polarity, surroundings=surroundings, width=width, depth=depth
            ).to(device)
        self._fit_usual(quantile, seed)
        self.averaged = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate)

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int | Sequence[int],
        polarity: str,
        surroundings: float,
        width: int,
        depth: int,
        **unused: Any,
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return MonotoneNetwork(
            channels, image_size, polarity=polarity, surroundings=surroundings, width=width, depth=depth
        )

    @torch.no_grad()
    def _fit_usual(self, quantile: float, seed: int) -> None:
        """The value at each place that a share `quantile` of the train images keeps below, and the next lower one."""
        order = torch.randperm(len(self.normals), generator=torch.Generator().manual_seed(seed))[:COMPARED]
        images, network = self.normals[order.to(self.normals.device)], self.network
        rank = max(1, round((1 - quantile) * len(images)))
        highest: Tensor | None = None
        for part in torch.split(images, 64):  # not all maps at once, which take several times what the images do
            seen = network.seen(part, part)
            together = seen if highest is None else torch.cat([highest, seen])
            highest = together.topk(min(rank + 1, len(together)), dim=0).values
        assert highest is not None
        network.usual, network.next_usual = highest[min(rank, len(highest)) - 1], highest[-1]

    def usual_of_others(self, images: Tensor) -> Tensor:
        """What is usual at each place among the train images without each of these, (B, maps, H, W).

        A train image would else be calibrated by itself, and look more normal than any other normal.
        """
        with torch.no_grad():
            usual = self.network.usual
            return torch.where(self.network.seen(images, images) >= usual, self.network.next_usual, usual)

    def train_epoch(self) -> dict[str, float]:
        """Train on that many batches; returns the mean loss."""
        self.network.train()
        mean = sum(self._train_step() for _ in range(self.steps_per_epoch)) / self.steps_per_epoch
        return {"margin": mean}

    def _train_step(self) -> float:
        device = self.generator.device
        rows = torch.randperm(len(self.normals), generator=self.generator, device=device)[: self.batch_size]
        normals = self.normals[rows]
        anomalies, usual = self.one_sided(normals), self.usual_of_others(normals)
        low, high = RANGE
        scale = low + (high - low) * float(torch.rand((), generator=self.generator, device=device))
        loss = self.proven_margin(normals, anomalies, usual, scale * self.epsilon)
        if self.adversary.epsilon:
            loss = loss + self._margin_in_l2(normals, anomalies, usual)
        self.update(loss)
        return float(loss.detach())

    def update(self, loss: Tensor) -> None:
        """One step of the optimiser, and of the moving average."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now, 1 - self.average)

    def proven_margin(self, normals: Tensor, anomalies: Tensor, usual: Tensor, epsilon: float) -> Tensor:
        """The loss on the highest score of every normal and the lowest of every anomaly in the ball, two passes."""
        dark, bright = ends(normals, epsilon)
        highest = self.network.decomposed(bright, dark, usual)
        dark, bright = ends(anomalies, epsilon)
        return self.margin(highest, self.network.decomposed(dark, bright, usual))

    def margin(self, normals: Tensor, anomalies: Tensor) -> Tensor:
        """Of all pairs of a normal and an anomalous score, (B,) each: a smooth AUROC with a gap."""
        return F.softplus(GAP - (anomalies[:, None] - normals[None]) / self.sharpness).mean()

    def _margin_in_l2(self, normals: Tensor, anomalies: Tensor, usual: Tensor) -> Tensor:
        def loss(images: Tensor) -> Tensor:
            return self.margin(*self.network.decomposed(images, images, torch.cat([usual, usual])).chunk(2))

        adversary = self.adversary.now(0, self.generator)
        return loss(adversary.worst(loss, torch.cat([normals, anomalies]), self.generator))

    def one_sided(self, normals: Tensor) -> Tensor:
        """Pseudo-anomalies of the normals, without what they change against the polarity."""
        made = self.make_anomalous(normals, self.generator).images
        limit = {"dark": torch.minimum, "bright": torch.maximum}.get(self.polarity)
        return limit(made, normals) if limit else made

    def detector(self) -> nn.Module:
        """A frozen copy of the averaged network."""
        return copy.deepcopy(self.averaged).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Weights and their average, optimiser and generator."""
        return {**super().state_dict(), "averaged": self.averaged.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state)
        self.averaged.load_state_dict(state["averaged"])
