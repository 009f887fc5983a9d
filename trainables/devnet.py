"""DevNet: a few labelled anomalies pull the scores of anomalies five deviations away from those of normals.

Source: Pang et al. 2021, "Explainable Deep Few-shot Anomaly Detection with Deviation Networks" (images), after Pang et
al. 2019, "Deep Anomaly Detection with Deviation Networks" (the loss). Neither trains adversarially; here `adversary`
attacks the deviation loss, using its norm, epsilon, method, steps and start.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import TrainingData
from assay.errors import InputError
from assay.shelves import Item, Shelf
from assay.units import Count, NonNegative, Positive, number
from trainables._adversary import Adversary
from trainables._location_scores import LocationScores
from trainables.losses.deviation import deviation
from trainables.pseudo_anomalies._items import OnPixels, ready

NEEDS = "anomalies"
CLIP = 1.0  # of the gradient norm


class Devnet:
    """A score at every location of an image, trained on a few labelled anomalies by the deviation loss (DevNet)."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 50,
        steps_per_epoch: Count = 20,
        batch_size: Annotated[int, Ge(4)] = 48,
        learning_rate: Positive = 2e-4,
        decay_every: Count = 10,
        weight_decay: NonNegative = 1e-5,
        top: Annotated[float, BeforeValidator(number), Gt(0), Le(1)] = 0.1,
        rotation: Annotated[float, Ge(0), Le(180)] = 0.0,
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "efficientnet_lite0", {}),
        pseudo_anomaly: OnPixels | None = None,
        adversary: Adversary = Adversary(epsilon=0),
        attacked: Literal["score", "locations"] = "score",
    ) -> None:
        """Prepare a run on train normals and labelled anomalies, each making up half of every batch.

        decay_every: number of epochs after which the learning rate falls to a tenth, repeatedly. top: share of the
        locations whose mean is the score. rotation: rotate every image by up to this many degrees (the source: 180).
        pseudo_anomaly: replaces half of the anomalies of a batch, or all if none are labelled. attacked: what training
        attacks, the score or every location at once, so that the top locations cannot shield the others.
        Raises InputError if there are no anomalies to train on, or if the backbone has no feature map.
        """
        if not len(data.labelled) and pseudo_anomaly is None:
            raise InputError(
                "devnet needs labelled anomalies to train on, and this dataset gives none; set labelled_anomalies "
                "among the dataset's parameters (such as 10), or name a pseudo_anomaly that makes some"
            )
        self.epochs, self.steps_per_epoch, self.batch_size = epochs, steps_per_epoch, batch_size
        self.rotation, self.adversary, self.attacked = rotation, adversary, attacked
        parts = [data.train.pixels, data.labelled.pixels][: 2 if len(data.labelled) else 1]
        self.images = torch.cat([torch.from_numpy(part.copy()) for part in parts]).to(
            device
        )  # as bytes, to save memory
        self.normals, self.labelled = len(data.train), len(data.labelled)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.make_anomalous = ready(pseudo_anomaly, self._pixels(slice(self.normals))) if pseudo_anomaly else None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = LocationScores(backbone, self.images.shape[1], top).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate, weight_decay=weight_decay)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, decay_every)
        self.remembered = self._maps_of_all() if self._maps_never_change() else None

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], backbone: Item, top: float, **unused: Any
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return LocationScores(backbone, channels, top)

    def train_epoch(self) -> dict[str, float]:
        """Train on that many balanced batches, drawn with replacement; returns the mean loss."""
        self.network.train()
        mean = sum(self._train_step() for _ in range(self.steps_per_epoch)) / self.steps_per_epoch
        self.scheduler.step()
        return {"deviation": mean}

    def _train_step(self) -> float:
        rows, pseudo = self._rows()
        anomalous = torch.arange(len(rows), device=rows.device) >= self.batch_size // 2
        maps = [one[rows] for one in self.remembered] if self.remembered else self._maps(rows, pseudo, anomalous)
        loss = deviation(self.network.pooled(self.network.locations(maps)), anomalous)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        return float(loss.detach())

    def _rows(self) -> tuple[Tensor, int]:
        """The images of a batch: normals, labelled anomalies, and normals to be turned into pseudo-anomalies."""
        anomalies = self.batch_size - self.batch_size // 2
        pseudo = 0 if self.make_anomalous is None else anomalies // 2 if self.labelled else anomalies
        draws = [(0, self.normals, self.batch_size // 2)]
        draws += [(self.normals, self.labelled, anomalies - pseudo)] if self.labelled else []
        draws += [(0, self.normals, pseudo)]
        device = self.generator.device
        parts = [
            start + torch.randint(among, (count,), generator=self.generator, device=device)
            for start, among, count in draws
        ]
        return torch.cat(parts), pseudo

    def _maps(self, rows: Tensor, pseudo: int, anomalous: Tensor) -> list[Tensor]:
        """Feature maps of a batch after pseudo-anomalies, rotation and the attack."""
        images = self._pixels(rows)
        if self.make_anomalous is not None and pseudo:
            made = self.make_anomalous(images[-pseudo:], self.generator).images
            images = torch.cat([images[:-pseudo], made])
        if self.rotation:
            images = rotated(images, self.rotation, self.generator)

        def loss(x: Tensor) -> Tensor:
            locations = self.network.locations(self.network.maps(x))
            if self.attacked == "locations":
                return deviation(torch.cat(locations, dim=1), anomalous[:, None])
            return deviation(self.network.pooled(locations), anomalous)

        self.network.eval()  # the attack sees the detector as it would be deployed
        images = self.adversary.worst(loss, images, self.generator)
        self.network.train()
        return self.network.maps(images)

    def _pixels(self, rows: Tensor | slice) -> Tensor:
        return self.images[rows].float().div_(255)

    def _maps_never_change(self) -> bool:
        """Whether the backbone is frozen and always sees the same images, so that one pass over them is enough."""
        frozen = not any(parameter.requires_grad for parameter in self.network.backbone.parameters())
        return frozen and not self.rotation and not self.adversary.epsilon and self.make_anomalous is None

    @torch.no_grad()
    def _maps_of_all(self) -> list[Tensor]:
        self.network.eval()
        batches = [self.network.maps(part.float().div_(255)) for part in torch.split(self.images, 32)]
        return [torch.cat(one) for one in zip(*batches, strict=True)]

    def detector(self) -> nn.Module:
        """A frozen copy of the current network."""
        return copy.deepcopy(self.network).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, schedule and generator."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"])


def rotated(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Square images (B, C, S, S), each rotated about its centre by its own angle of up to this many degrees."""
    draws = torch.rand(len(images), generator=generator, device=generator.device).to(images)
    angles = (2 * draws - 1) * math.radians(degrees)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turns = torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)
    grid = F.affine_grid(turns, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
