"""DRAEM: one network repairs images with pseudo-anomalies, another locates them from the image and its repair.

Source: Zavrtanik et al. 2021, "DRAEM: A discriminatively trained reconstruction embedding for surface anomaly
detection", section 3. Smaller than in the paper: both networks halve the side three times and are initially `width`
wide, not 128; images are not rotated, and the learning rate is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import TrainingData
from assay.shelves import Item
from assay.units import Count, Fraction, NonNegative, Positive
from trainables._trained import Trained
from trainables.losses.focal import focal
from trainables.pseudo_anomalies._items import OnPixels, ready

SMOOTHED = 21 / 256
"""Side of the square over which the anomaly map is averaged, as a share of the image's."""

WINDOW = 11
"""Side of the windows for structural similarity, in pixels."""

LEAST = 1e-30


class UNet(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H, W) through 1/8 of the side; skips: connect the way down to the way up."""

    def __init__(self, inputs: int, outputs: int, width: int, *, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        wide = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(_block(below, own) for below, own in zip([inputs, *wide], wide, strict=False))
        pairs = list(zip(wide[:0:-1], wide[-2::-1], strict=True))
        self.up = nn.ModuleList(_block(below + own if skips else below, own) for below, own in pairs)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Unbounded outputs; H and W must be at least 16."""
        kept: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        for block, beside in zip(self.up, kept[-2::-1], strict=True):
            x = F.interpolate(x, beside.shape[-2:], mode="bilinear")
            x = block(torch.cat([x, beside], dim=1) if self.skips else x)
        last: Tensor = self.last(x)
        return last


def _block(inputs: int, outputs: int) -> nn.Module:
    def layer(wide: int) -> list[nn.Module]:
        return [nn.Conv2d(wide, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(*layer(inputs), *layer(outputs))


class RepairAndCompare(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> the highest log-odds (B,) in the smoothed anomaly map."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.repair = UNet(channels, channels, width, skips=False)
        self.compare = UNet(2 * channels, 1, width, skips=True)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The repaired images (B, C, H, W) and the logits (B, 1, H, W) of every pixel being anomalous."""
        repaired = self.repair(images)
        return repaired, self.compare(torch.cat([repaired, images], dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous.

        Same order as the paper's scores, which are the probabilities of these log-odds. Those saturate at 1 in float32,
        where scores become equal and lose their gradient.
        """
        return self.score_and_map(images)[0]

    def score_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and the log-odds (B, H, W) of the smoothed map, of which they are the largest."""
        _, logits = self.maps(images)
        anomalous, normal = (_smoothed(_logistic(side)).clamp(min=LEAST) for side in (logits, -logits))
        odds = (anomalous.log() - normal.log())[:, 0]
        return odds.flatten(1).amax(dim=1), odds


def _logistic(logits: Tensor) -> Tensor:
    """The logistic function by exponentials: some runtimes' own has small values wrong by half, which logs show."""
    small = torch.exp(-logits.abs())
    return torch.where(logits < 0, small, 1.0) / (1 + small)


def _smoothed(maps: Tensor) -> Tensor:
    half = max(1, round((SMOOTHED * maps.shape[-1] - 1) / 2))
    return F.avg_pool2d(maps, 2 * half + 1, 1, half, count_include_pad=False)


def dissimilarity(images: Tensor, others: Tensor) -> Tensor:
    """1 - structural similarity of images (B, C, H, W) in [0, 1], its mean over windows (Wang et al. 2004)."""

    def mean(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, WINDOW, 1, WINDOW // 2, count_include_pad=False)

    one, other = mean(images), mean(others)
    variances = mean(images.square()) - one.square() + mean(others.square()) - other.square()
    covariance = mean(images * others) - one * other
    light = (2 * one * other + 0.01**2) / (one.square() + other.square() + 0.01**2)
    return 1 - (light * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean()


class Draem(Trained):
    """Two networks that repair images with pseudo-anomalies and locate them; scores by the worst location."""

    network: RepairAndCompare

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        epochs: Count = 40,
        batch_size: Count = 8,
        learning_rate: Positive = 1e-3,
        anomalous: Fraction = 0.5,
        similarity: NonNegative = 1.0,
        width: Annotated[int, Ge(4), Le(128)] = 16,
        pseudo_anomaly: OnPixels = Item("pseudo_anomalies", "perlin", {}),
    ) -> None:
        """Prepare a run on train normals, at least 16 pixels per side; the paper trains for 700 epochs at 1e-4.

        anomalous: share of images that get a pseudo-anomaly. similarity: weight of structural similarity in the repair
        loss, besides squared error. width: of the networks' first layer, 128 in the paper.
        """
        self.epochs, self.batch_size, self.anomalous, self.similarity = epochs, batch_size, anomalous, similarity
        self.normals = torch.from_numpy(data.train.pixels.copy()).to(device).float().div_(255)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.make_anomalous = ready(pseudo_anomaly, self.normals)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = RepairAndCompare(self.normals.shape[1], width).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate)

    @classmethod
    def build(cls, *, channels: int, image_size: int | Sequence[int], width: int, **unused: Any) -> nn.Module:
        """An untrained detector of the same shape."""
        return RepairAndCompare(channels, width)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the normals in random order; returns the means of the loss terms."""
        self.network.train()
        steps = [self._train_step(normals) for normals in self.shuffled()]
        return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}

    def _train_step(self, normals: Tensor) -> dict[str, float]:
        made = self.make_anomalous(normals, self.generator)
        draws = torch.rand(len(normals), generator=self.generator, device=self.generator.device)
        chosen = (draws < self.anomalous).view(-1, 1, 1, 1)
        repaired, logits = self.network.maps(torch.where(chosen, made.images, normals))
        terms = {
            "squared": F.mse_loss(repaired, normals),
            "similarity": self.similarity * dissimilarity(repaired, normals),
            "focal": focal(logits, made.mask & chosen),
        }
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(sum(terms.values(), torch.zeros(())))
        self.optimizer.step()
        return {name: float(term.detach()) for name, term in terms.items()}
