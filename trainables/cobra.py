"""COBRA: adversarial training of normals against pseudo-anomalies with three losses.

Source: COBRA (ICLR 2025, "Adversarially Robust Anomaly Detection through Spurious Negative Pair Mitigation"):
views of every normal and of its own pseudo-anomaly, adversarial views against both losses, a score from the
classification head and the nearest training normals. Paper and released code differ, and both have errors that the
default, `variant: fixed`, avoids; see `_cobra_steps`. The other published choices are parameters: the
opposite term (its weight; the released training never switches it on), the acceptance filter (`pseudo_anomaly:
acceptance`; off in the released code), the score (`score.form: as_released`, k 1, views 10), the projection
(`embedding: 128`), views of `views`. Not offered: classes of several pseudo-anomalies (K = 4), the LARS optimiser, and
adding the scores of the image turned into pseudo-anomalies.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.errors import DivergedError, InputError
from assay.shelves import Item, Shelf
from assay.units import Count, NonNegative, Positive
from trainables._adversary import Adversary
from trainables._cobra_loss import CobraLoss
from trainables._cobra_steps import Step, Variant, deployed, terms
from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights
from trainables._overfitting import IMAGES, Guard
from trainables._views import Views
from trainables.pseudo_anomalies._items import OnPixels, ready

FALL_BACK_STEPS = 3
"""Minimum PGD steps after catastrophic overfitting was detected."""


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
        variant: Variant = "fixed",
        embedding: Count = 64,
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "small_resnet", {}),
        pseudo_anomaly: OnPixels = Item("pseudo_anomalies", "cutpaste", {}),
        adversary: Adversary = Adversary(),
        loss: CobraLoss = CobraLoss(),
        views: Views = Views(),
        score: ScoreWeights = ScoreWeights(),
        precision: Literal["float32", "bfloat16"] = "float32",
        channels_last: bool = True,
        compile: bool = False,
    ) -> None:
        """Prepare a run on train normals; raises InputError if nothing would be trained or the guard has no head.

        batch_size: normals per step (each adds its pseudo-anomaly). warm_up: share of the run over which epsilon and
        learning rate rise. average: decay of the moving average of the weights, which is the detector; 0 for none.
        variant: the training step of this project, of the paper or of its released code. embedding: size of the
        projection used by the pair terms. precision, channels_last, compile: how the backbone computes in training;
        the detector computes in float32. All three change results by rounding. channels_last saves a sixth of the time
        on a CPU; bfloat16 a third, with more rounding.
        """
        self.epochs, self.batch_size, self.warm_up, self.average = epochs, batch_size, warm_up, average
        self.variant, self.adversary, self.loss, self.views = variant, adversary, loss, views
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.make_anomalous = ready(pseudo_anomaly, self.normals)
        if not (loss.on_head or loss.on_pairs):
            raise InputError("every weight of cobra's loss is 0, so there is nothing to train; raise one of them")
        if adversary.guard != "off" and not loss.on_head:
            raise InputError(
                "adversary.guard compares accuracies of the head: raise loss.classification or turn the guard off"
            )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.averaged = HeadAndNeighbours(backbone, self.normals.shape[1], score, views, embedding).to(device)
        self.network = copy.deepcopy(self.averaged)
        self.network.precision = precision
        if channels_last:
            self.normals = self.normals.contiguous(memory_format=torch.channels_last)
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if loss.certified and not (hasattr(self.averaged.backbone, "bounds") and adversary.norm == "linf"):
            raise InputError("loss.certified needs interval bounds: use the backbone plain_cnn and adversary.norm linf")
        if compile:
            self.network.backbone.compile()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), learning_rate, weight_decay=weight_decay, fused=self.normals.is_cuda or None
        )
        self.steps_per_epoch = max(1, len(self.normals) // batch_size)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, learning_rate, total_steps=self.steps_per_epoch * epochs + 1, pct_start=max(warm_up, 0.05)
        )
        self.step = 0
        self.overfitted = False
        self.guard = self._guard(seed) if adversary.guard != "off" else None

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int | Sequence[int],
        backbone: Item,
        score: ScoreWeights,
        views: Views,
        embedding: int,
        **unused: Any,
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return HeadAndNeighbours(backbone, channels, score, views, embedding)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the normals in random order; returns the means of the loss terms (and of `rejected`).

        With a guard, also its figures; `overfitted` stays 1.0 once set. Raises DivergedError if a loss or a gradient
        is not finite.
        """
        order = torch.randperm(len(self.normals), generator=self.generator, device=self.generator.device)
        sums: dict[str, float] = {}
        for batch in range(self.steps_per_epoch):
            normals = self.normals[order[batch * self.batch_size : (batch + 1) * self.batch_size]]
            for name, value in self._train_step(normals).items():
                sums[name] = sums.get(name, 0.0) + value / self.steps_per_epoch
        return sums | self._look()

    def _train_step(self, normals: Tensor) -> dict[str, float]:
        anomalies = self.make_anomalous(normals, self.generator).images
        adversary = self.adversary.now(self._warmed(), self.generator)
        images = torch.cat([normals, anomalies])
        step = Step(self.network, images, adversary, self.loss, self.views, self.generator, self._proven_radius())
        losses = terms(step, self.variant)
        total = self.loss.total(losses)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        told = torch.stack([*(term.detach().double() for term in losses.values()), norm.double()]).tolist()  # one wait
        values = dict(zip(losses, told[:-1], strict=True))
        if not all(map(math.isfinite, told)):
            raise DivergedError(
                f"a loss or its gradient is not finite at step {self.step}: {values}, gradient norm {told[-1]}; "
                "lower the learning rate, or use precision float32"
            )
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        self._average_weights()
        rejected = getattr(self.make_anomalous, "rejected", None)  # if the pseudo-anomaly rejects some of its draws
        return values if rejected is None else {**values, "rejected": rejected}

    def _warmed(self) -> float:
        """Completed part of the warm-up, 0 to 1: at full strength from the start, training stalls at chance."""
        rising = self.warm_up * self.epochs * self.steps_per_epoch
        return min(1.0, self.step / rising) if rising else 1.0

    def _proven_radius(self) -> float:
        """Epsilon of the certified term: 0 in the warm-up, then rising to the adversary's over half of what is left.

        On bounds from the start, a network that has not learned yet ends as a constant.
        """
        done = self.step / (self.epochs * self.steps_per_epoch)
        return self.adversary.epsilon * min(1.0, max(0.0, 2 * (done - self.warm_up) / (1 - self.warm_up)))

    def _guard(self, seed: int) -> Guard:
        normals = self.normals[: IMAGES // 2]
        anomalies = self.make_anomalous(normals, torch.Generator(normals.device).manual_seed(seed)).images
        images = torch.cat([normals, anomalies])
        return Guard(images, torch.arange(len(images), device=images.device) >= len(normals), seed)

    def _look(self) -> dict[str, float]:
        """The guard's figures for the current network; overfitting, once detected, may change the attack."""
        if self.guard is None:
            return {}
        with deployed(self.network):
            seen = self.guard.look(self.network.logits, self.adversary)
        self.overfitted = self.overfitted or bool(seen["overfitted"])
        self._fall_back()
        return {**seen, "overfitted": float(self.overfitted)}

    def _fall_back(self) -> None:
        if self.overfitted and self.adversary.guard == "fall_back":
            steps = max(FALL_BACK_STEPS, self.adversary.steps)
            self.adversary = self.adversary.model_copy(update={"method": "pgd", "steps": steps, "start": "random"})

    def _average_weights(self) -> None:
        decay = min(self.average, self.step / (self.step + 10))  # a short average while there are few steps
        with torch.no_grad():
            now, means = self.network.state_dict(), self.averaged.state_dict()
            own = [
                name
                for name, mean in means.items()
                if mean.is_floating_point() and name not in HeadAndNeighbours.FITTED
            ]
            torch._foreach_lerp_([means[name] for name in own], [now[name] for name in own], 1 - decay)

    def detector(self) -> nn.Module:
        """A frozen copy of the averaged network with its neighbour bank and score scales fitted on the normals."""
        detector = copy.deepcopy(self.averaged).eval().requires_grad_(False)
        detector.fit(self.normals)
        return detector

    def state_dict(self) -> dict[str, Any]:
        """Weights, their average, optimiser, schedule, generator, step and the state of the guard."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "overfitted": self.overfitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]
        self.overfitted = state["overfitted"]
        self._fall_back()
