"""COBRA: adversarial training on normals against pseudo-anomalies with three losses.

Source: COBRA (ICLR 2025, "Adversarially Robust Anomaly Detection through Spurious Negative Pair Mitigation"):
views of every normal and of its own pseudo-anomaly, adversarial views made against both losses, a score from the
classification head and the nearest training normals. Where paper and released code differ this is the paper's
method: the opposite term is used (the released training never passes it) and is bounded by a margin.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.errors import InputError
from assay.shelves import Item, Shelf
from assay.units import Count, NonNegative, Positive
from trainables._adversary import Adversary
from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights
from trainables._views import Views
from trainables.losses.classification import classification
from trainables.losses.contrastive import contrastive
from trainables.losses.opposite import opposite
from trainables.pseudo_anomalies._items import OnPixels, ready


class CobraLoss(BaseModel):
    """Weights of the three terms, the temperature of the contrastive ones and the margin of the opposite one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classification: NonNegative = 1.0
    contrastive: NonNegative = 0.0
    opposite: NonNegative = 0.0
    temperature: Positive = 0.5
    margin: Positive = 8.0


class Cobra:
    """Adversarial training of normals against their pseudo-anomalies; scores by head and nearest normals (COBRA)."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 60,
        batch_size: Annotated[int, Ge(4)] = 48,
        learning_rate: Positive = 2e-3,
        weight_decay: NonNegative = 1e-4,
        warm_up: Annotated[float, Ge(0), Lt(1)] = 0.3,
        average: Annotated[float, Ge(0), Lt(1)] = 0.95,
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "small_resnet", {}),
        pseudo_anomaly: OnPixels = Item("pseudo_anomalies", "cutpaste", {}),
        adversary: Adversary = Adversary(),
        loss: CobraLoss = CobraLoss(),
        views: Views = Views(),
        score: ScoreWeights = ScoreWeights(),
    ) -> None:
        """Prepare a run on train normals.

        batch_size: normals a step (each brings its pseudo-anomaly). warm_up: share of the run over which epsilon and
        learning rate rise. average: decay of the moving average of weights that is the detector; 0 is none.
        """
        self.epochs, self.batch_size, self.warm_up, self.average = epochs, batch_size, warm_up, average
        self.adversary, self.loss, self.views, self.score = adversary, loss, views, score
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.make_anomalous = ready(pseudo_anomaly, self.normals)
        if not (loss.classification or loss.contrastive or loss.opposite):
            raise InputError("every weight of cobra's loss is 0, so there is nothing to train; raise one of them")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = HeadAndNeighbours(backbone, self.normals.shape[1], score).to(device)
        self.averaged = copy.deepcopy(self.network)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), learning_rate, weight_decay=weight_decay)
        self.steps_per_epoch = max(1, len(self.normals) // batch_size)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, learning_rate, total_steps=self.steps_per_epoch * epochs + 1, pct_start=max(warm_up, 0.05)
        )
        self.step = 0

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int,
        backbone: Item,
        score: ScoreWeights,
        **unused: Any,
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return HeadAndNeighbours(backbone, channels, score)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the normals in random order; returns the means of the loss terms (and of `rejected`)."""
        order = torch.randperm(len(self.normals), generator=self.generator, device=self.generator.device)
        sums: dict[str, float] = {}
        for batch in range(self.steps_per_epoch):
            normals = self.normals[order[batch * self.batch_size : (batch + 1) * self.batch_size]]
            for name, value in self._train_step(normals).items():
                sums[name] = sums.get(name, 0.0) + value / self.steps_per_epoch
        return sums

    def _train_step(self, normals: Tensor) -> dict[str, float]:
        terms = self._terms(normals)
        total = sum((getattr(self.loss, name) * term for name, term in terms.items()), torch.zeros(()))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        self._average_weights()
        told = {name: float(term.detach()) for name, term in terms.items()}
        rejected = getattr(self.make_anomalous, "rejected", None)  # where the pseudo-anomaly judges its own draws
        return told if rejected is None else {**told, "rejected": rejected}

    def _terms(self, normals: Tensor) -> dict[str, Tensor]:
        """The loss terms of one batch that have a weight; adversarial views are made against each of them."""
        anomalies = self.make_anomalous(normals, self.generator).images
        images = torch.cat([normals, anomalies])
        adversary = self._adversary_now()
        terms = {}
        if self.loss.classification:
            labels = torch.arange(len(images), device=images.device) >= len(normals)
            view = self.views.draw(images, self.generator)
            self.network.eval()  # the attack sees the detector as it would be deployed
            view = adversary.worst(lambda x: classification(self.network.logits(x), labels), view, self.generator)
            self.network.train()
            terms["classification"] = classification(self.network.logits(view), labels)
        if self.loss.contrastive or self.loss.opposite:
            terms |= self._contrastive_terms(images, adversary)
        return terms

    def _contrastive_terms(self, images: Tensor, adversary: Adversary) -> dict[str, Tensor]:
        first, second = self.views.draw(images, self.generator), self.views.draw(images, self.generator)
        blocks = [first, second]
        if adversary.epsilon:
            self.network.eval()
            with torch.no_grad():  # the clean views do not move while the third is attacked
                fixed = self.network.embeddings(torch.cat(blocks))

            def loss(x: Tensor) -> Tensor:
                rows = torch.cat([fixed, self.network.embeddings(x)])
                return self._pair_losses(rows, views=3)[0]

            blocks.append(adversary.worst(loss, first, self.generator))
            self.network.train()
        _, terms = self._pair_losses(self.network.embeddings(torch.cat(blocks)), views=len(blocks))
        return terms

    def _pair_losses(self, rows: Tensor, views: int) -> tuple[Tensor, dict[str, Tensor]]:
        weights, terms = self.loss, {}
        if weights.contrastive:
            terms["contrastive"] = contrastive(rows, views=views, temperature=weights.temperature)
        if weights.opposite:
            terms["opposite"] = opposite(rows, views=views, temperature=weights.temperature, margin=weights.margin)
        return sum((getattr(weights, n) * t for n, t in terms.items()), torch.zeros(())), terms

    def _adversary_now(self) -> Adversary:
        """Epsilon rises from 0 over the warm-up: from the start at full strength, training stalls at chance."""
        rising = self.warm_up * self.epochs * self.steps_per_epoch
        share = min(1.0, self.step / rising) if rising else 1.0
        return self.adversary.model_copy(update={"epsilon": self.adversary.epsilon * share})

    def _average_weights(self) -> None:
        decay = min(self.average, self.step / (self.step + 10))  # short memory while there is little to remember
        with torch.no_grad():
            now = self.network.state_dict()
            for name, mean in self.averaged.state_dict().items():
                if mean.dtype.is_floating_point and name not in HeadAndNeighbours.FITTED:
                    mean.lerp_(now[name], 1 - decay)

    def detector(self) -> nn.Module:
        """A frozen copy of the averaged network with its neighbour bank and score scales fitted on the normals."""
        detector = copy.deepcopy(self.averaged).eval().requires_grad_(False)
        detector.fit(self.normals)
        return detector

    def state_dict(self) -> dict[str, Any]:
        """Weights, their average, optimiser, schedule, generator and step."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]
