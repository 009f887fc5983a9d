"""The detector COBRA deploys: a backbone with a classification head, a projection and a bank of training normals."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Le
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Norm
from assay.shelves import Item
from assay.units import Count, NonNegative, Positive
from trainables._angle_bound import pixel_bounds
from trainables._coreset import kept
from trainables._nearest import nearest, nearest_others
from trainables._views import DRAWS, Views
from trainables.backbones.pixels import Pixels

SIDE = 32  # of the images in the pixel bank
BATCH = 128  # images encoded together while fitting
ROUNDING = 1e-5  # by which bounds of a part are widened, of its size: more than float32 loses in a few layers


class ScoreWeights(BaseModel):
    """The parts of the score: the head's logit, and the distance to the k nearest normals in features and in pixels.

    pixels is not part of COBRA. It is offered because raw pixels are hard to attack (see the backbone `pixels`), so one
    can see what the network adds to them.
    bank: how many normals are kept as neighbours, chosen far from each other: a share up to 1, or a number above.
    views: number of views of an image over which features and logit are averaged: itself, then fixed draws of `views`.
    form: `standardised` puts each part on the scale of the normals; `as_released` is COBRA's: the product with the
    normalised embeddings of normals over their mean norm, not normalised for the image itself (with k 1 and views 10).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: NonNegative = 1.0
    neighbours: NonNegative = 1.0
    pixels: NonNegative = 0.0
    k: Count = 3
    bank: Positive = 1.0
    views: Annotated[Count, Le(64)] = 1
    form: Literal["standardised", "as_released"] = "standardised"


class HeadAndNeighbours(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,), higher is more anomalous.

    score = head * z(logit) + neighbours * z(distance in features) + pixels * z(distance in pixels), where a distance is
    the mean cosine distance to the k nearest training normals, and z standardises by the training normals (mean 0,
    deviation 1), so that the weights are comparable.
    The score is deterministic and differentiable: its views are fixed and part of it.
    Where the backbone has bounds and neighbours in features have no weight, the score has a proof in linf, too.
    Source: COBRA (ICLR 2025) and CSI (Tack et al. 2020), score from head and nearest neighbour. Both also add the
    scores of images turned into pseudo-anomalies, which are random; here only the image itself is scored.
    """

    CERTIFIES: tuple[Norm, ...]
    FITTED: ClassVar[frozenset[str]] = frozenset({"bank", "pixel_bank", "location", "scale"})
    bank: Tensor
    pixel_bank: Tensor
    location: Tensor
    scale: Tensor
    draws: Tensor

    def __init__(
        self,
        backbone: Item,
        channels: int,
        weights: ScoreWeights,
        views: Views = Views(),
        embedding: int = 64,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__()
        self.weights, self.views, self.precision = weights, views, precision
        self.released = weights.form == "as_released"
        self.offset = 0.0 if self.released else 1.0  # a distance is the offset minus the product
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        proven = (
            hasattr(self.backbone, "bounds") and not weights.neighbours and weights.views == 1 and not self.released
        )
        self.CERTIFIES = ("linf",) if proven else ()
        self.pixels = Pixels(channels, SIDE)
        features: int = self.backbone.features
        self.head = nn.Linear(features, 1)
        self.projection = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, embedding))
        self.register_buffer("bank", torch.zeros(1, embedding if self.released else features))
        self.register_buffer("pixel_bank", torch.zeros(1, self.pixels.features))
        self.register_buffer("location", torch.zeros(3))
        self.register_buffer("scale", torch.ones(3))
        seeded = [torch.Generator().manual_seed(view) for view in range(1, weights.views)]
        draws = [torch.rand(DRAWS, generator=generator) for generator in seeded]  # here, as a program cannot draw them
        self.register_buffer("draws", torch.stack(draws) if draws else torch.empty(0, DRAWS), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """(B, F) of the backbone; computed in the network's precision, then converted to that of the images."""
        low = self.precision == "bfloat16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            features: Tensor = self.backbone(images)
        return features.to(images.dtype)

    def logits_of(self, features: Tensor) -> Tensor:
        """Logits (B,) of being anomalous, from features (B, F)."""
        logits: Tensor = self.head(features).squeeze(1)
        return logits

    def embeddings_of(self, features: Tensor) -> Tensor:
        """Unit vectors (B, embedding) for the contrastive losses, from features (B, F)."""
        return F.normalize(self.projection(features), dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B,) of being anomalous."""
        return self.logits_of(self.features(images))

    def logit_bounds(self, images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Bounds (B,), (B,) of the logits of all images within epsilon in linf, by intervals."""
        low, high = self.backbone.bounds(images, epsilon)
        middle, radius = self.logits_of((low + high) / 2), (high - low) @ self.head.weight.abs()[0] / 2
        return middle - radius, middle + radius

    def embeddings(self, images: Tensor) -> Tensor:
        """Unit vectors (B, embedding) for the contrastive losses."""
        return self.embeddings_of(self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        weights = self.weights

        def in_pixels(rows: Tensor) -> Tensor:  # a pixel bank is more expensive, and often has no weight
            return nearest(rows, self.pixel_bank, weights.k) if weights.pixels else rows.new_zeros(rows.shape[0])

        return self._score(images, lambda rows: nearest(rows, self.bank, weights.k, offset=self.offset), in_pixels)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the distances (B, N) in place of the mean over the k nearest."""
        return self._score(
            images,
            lambda rows: pool(self.offset - rows @ self.bank.T),
            lambda rows: pool(1 - rows @ self.pixel_bank.T),
        )

    def _score(
        self, images: Tensor, near: Callable[[Tensor], Tensor], near_in_pixels: Callable[[Tensor], Tensor]
    ) -> Tensor:
        logits, rows = self._seen(images)
        parts = torch.stack([logits, near(rows), near_in_pixels(self._pixel_rows(images))], dim=1)
        parts = (parts - self.location) / self.scale
        weights = self.weights
        return weights.head * parts[:, 0] + weights.neighbours * parts[:, 1] + weights.pixels * parts[:, 2]

    def _seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B,) and the rows (B, D) to compare with the bank, averaged over the views."""
        views = [images, *(self.views.fixed(images, self.draws[view]) for view in range(self.weights.views - 1))]
        features = [self.features(view) for view in views]
        logits = _mean([self.logits_of(each) for each in features])
        if self.released:
            return logits, _mean([self.projection(each) for each in features])
        return logits, F.normalize(_mean(features), dim=1)

    def _pixel_rows(self, images: Tensor) -> Tensor:
        return F.normalize(self.pixels(images), dim=1)

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in the linf balls of R radii.

        The logit is bounded by intervals, the distance in pixels by angles, each on its own, so their sum is sound.
        """
        logits = [self.logit_bounds(images, float(radius)) for radius in radii]
        low, high = (torch.stack(end, dim=1).double() for end in zip(*logits, strict=True))
        parts = [(self.weights.head, 0, (low, high))]
        if self.weights.pixels:
            of_pixels = pixel_bounds(images, norm, radii, SIDE, self.pixel_bank.double(), self.weights.k)
            parts.append((self.weights.pixels, 2, of_pixels))
        lower, upper = torch.zeros_like(low), torch.zeros_like(high)
        for weight, at, (least, most) in parts:
            location, scale = self.location[at].double(), self.scale[at].double()
            rounding = ROUNDING * (torch.maximum(least.abs(), most.abs()) + location.abs())
            lower += weight * (least - rounding - location) / scale
            upper += weight * (most + rounding - location) / scale
        return lower, upper

    def bank_rows(self) -> int:
        """The number of rows of the bank."""
        return len(self.bank)

    @torch.no_grad()
    def with_bank(self, share: float) -> nn.Module:
        """A copy with a coreset of each bank, `share` of its rows; the scale of distances is adapted to the new bank.

        Distances to a smaller bank are longer. The scale of `as_released` depends on the embeddings only and stays.
        """
        smaller = copy.deepcopy(self)
        for name, place in (("bank", 1), ("pixel_bank", 2)):
            rows = getattr(self, name)
            mine = kept(rows, share)
            if len(mine) < len(rows):
                setattr(smaller, name, rows[mine])
                if not (self.released and name == "bank"):
                    distances = nearest_others(rows, mine, self.weights.k)
                    smaller.location[place] = distances.mean()
                    smaller.scale[place] = distances.std(correction=0).clamp(min=1e-6)
        return smaller

    @torch.no_grad()
    def fit(self, normals: Tensor, batch: int = BATCH) -> None:
        """Fill the banks from the train normals (N, C, H, W), and fit the scales to all of them.

        The nearest neighbour of a stored normal is itself, so its own row is left out when fitting.
        """
        logits, rows = (torch.cat(part) for part in zip(*map(self._seen, torch.split(normals, batch)), strict=True))
        pixels, k = self._pixel_rows(normals), self.weights.k
        norm = rows.norm(dim=1).mean()
        if self.released:
            rows = F.normalize(rows, dim=1)
        mine, mine_in_pixels = kept(rows, self.weights.bank), kept(pixels, self.weights.bank)
        self.bank, self.pixel_bank = rows[mine], pixels[mine_in_pixels]
        parts = [logits, nearest_others(rows, mine, k), nearest_others(pixels, mine_in_pixels, k)]
        scores = torch.stack(parts, dim=1)
        self.location = scores.mean(dim=0)
        self.scale = scores.std(dim=0, correction=0).clamp(min=1e-6)
        if self.released:  # no location; the scale keeps its sign if the mean logit is on the wrong side
            self.location[:2] = 0
            self.scale[:2] = torch.stack([logits.mean().abs(), norm]).clamp(min=1e-6)


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(dim=0)
