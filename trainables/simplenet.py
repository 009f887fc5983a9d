"""SimpleNet: a small network that separates patch features of normals from the same features with added noise.

Source: Liu et al. 2023, "SimpleNet: A Simple Network for Image Anomaly Detection and Localization", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.shelves import Item, Shelf, stated
from assay.units import Count, NonNegative, Positive
from trainables._patch_features import Levels, PatchFeatures
from trainables._trained import Trained


def _on_features(item: Item) -> Item:
    if stated(item.function, "SPACE", "pixels") != "features":
        reason = "'{name}' works on images; use one that works on features, such as feature_noise"
        raise PydanticCustomError("space", reason, {"name": item.name})
    return item


BATCH = 64  # images encoded together while features are measured


class PatchDiscriminator(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> logit (B,) of the patch that looks least like a normal one.

    Features are standardised to mean 0 and deviation 1 over the patches of normals, so that the noise is equally strong
    on every backbone; the paper adds it to the raw features of one network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Item, channels: int, levels: Levels) -> None:
        super().__init__()
        self.patches = PatchFeatures(backbone, channels, levels)
        width = self.patches.features
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.adapter = nn.Linear(width, width)
        self.discriminator = nn.Sequential(
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.2), nn.Linear(width, 1, bias=False)
        )

    @torch.no_grad()
    def fit(self, normals: Tensor) -> None:
        """Measure the mean and deviation of the features of train normals (N, C, H, W)."""
        rows = torch.cat([self.patches(part).flatten(0, 1) for part in torch.split(normals, BATCH)])
        self.deviation, self.mean = torch.std_mean(rows, dim=0)
        self.deviation = self.deviation.clamp_min(1e-6)

    def adapted(self, images: Tensor) -> Tensor:
        """(B, P, F) of the locations, after the adapter."""
        return self._adapted(self.patches(images))

    def _adapted(self, patches: Tensor) -> Tensor:
        rows: Tensor = self.adapter((patches - self.mean) / self.deviation)
        return rows

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_and_map(images)[0]

    def score_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and the logits (B, h, w) of all patches, of which they are the largest."""
        maps = self.patches.maps(images)
        adapted = self._adapted(maps.flatten(2).transpose(1, 2))
        logits: Tensor = self.discriminator(adapted.flatten(0, 1)).view(-1, *maps.shape[2:])
        return logits.flatten(1).amax(dim=1), logits


class Simplenet(Trained):
    """A discriminator between adapted patch features of train normals and the same with Gaussian noise."""

    network: PatchDiscriminator

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 40,
        batch_size: Count = 8,
        learning_rate: Positive = 2e-4,
        weight_decay: NonNegative = 1e-5,
        margin: Positive = 0.5,
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "efficientnet_lite0", {}),
        levels: Levels = (2, 3),
        pseudo_anomaly: Annotated[Item, Shelf("pseudo_anomalies"), AfterValidator(_on_features)] = Item(
            "pseudo_anomalies", "feature_noise", {"deviation": 0.15}
        ),
    ) -> None:
        """Prepare a run on train normals; the paper trains for 160 epochs.

        batch_size: images per step, each contributing all its patches. learning_rate: of the discriminator; the
        adapter's is half of it, as in the paper. margin: logits beyond it on the correct side cost nothing. levels:
        which of the backbone's feature maps, 1 being the finest. pseudo_anomaly: one on features, such as
        feature_noise, whose deviation is relative to that of the normals' features. At 0.1 the loss hardly decreases.
        """
        self.epochs, self.batch_size, self.margin, self.pseudo_anomaly = epochs, batch_size, margin, pseudo_anomaly
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = PatchDiscriminator(backbone, self.normals.shape[1], levels).to(device)
        self.network.fit(self.normals)
        adapter: dict[str, Any] = {"params": list(self.network.adapter.parameters()), "lr": learning_rate / 2}
        others: dict[str, Any] = {"params": list(self.network.discriminator.parameters())}
        self.optimizer = torch.optim.AdamW([adapter, others], learning_rate, weight_decay=weight_decay)

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], backbone: Item, levels: Levels, **unused: Any
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        return PatchDiscriminator(backbone, channels, levels)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the normals in random order; returns the mean loss."""
        self.network.train()
        losses = [self._train_step(normals) for normals in self.shuffled()]
        return {"loss": sum(losses) / len(losses)}

    def _train_step(self, images: Tensor) -> float:
        normal = self.network.adapted(images).flatten(0, 1)
        anomalous = self.pseudo_anomaly.function(normal, self.generator, **self.pseudo_anomaly.arguments())
        logits = self.network.discriminator(torch.cat([normal, anomalous]))[:, 0]
        low, high = logits.tensor_split(2)
        loss = (self.margin + low).relu().mean() + (self.margin - high).relu().mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return float(loss.detach())
