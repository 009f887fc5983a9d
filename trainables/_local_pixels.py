"""Patches against the train patches at their place, and pixels beyond the extremes of the train pixels, with bounds.

Both parts are maxima over places, which an attacker with little per pixel hardly moves, and one with all of an l2
budget in one place moves far.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.contracts import Monotonicity, Norm

ROUNDING = 1e-5
"""How far bounds are widened, in score: more than float32 rounds by in distances of pixels."""
SOFTNESS = 0.003
"""Of the maximum over places, in pixel scale: less than a grey level."""
CLAIMS: dict[str, Monotonicity] = {"dark": "falling", "bright": "rising", "both": "mixed"}
TINY = 1e-12
"""Least mean square of a distance: the root has no gradient at 0."""


def soft_maximum(values: Tensor) -> Tensor:
    """The largest of (B, N), nearly: it rises with each value, by at most as much, and has a gradient at each.

    An attack by gradients then moves all places at once; of a plain maximum it would see one at a step.
    """
    return SOFTNESS * (values / SOFTNESS).logsumexp(1)


class LocalPixels(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> score (B,): extremes + weight * patches, higher is more anomalous.

    Extremes: the largest distance of a pixel beyond the train median of its place in the direction of the polarity,
    above its usual size there. Patches: the largest root mean square distance of a patch to the train patches at its
    place, the k nearest averaged, above its usual size there. Neither is cut off below, so that no scores tie.
    """

    CERTIFIES: tuple[Norm, ...] = ("linf", "l2", "l1")
    bank: Tensor
    patch_usual: Tensor
    median: Tensor
    usual: Tensor

    def __init__(
        self,
        channels: int,
        image_size: int,
        *,
        size: int,
        k: int,
        patches: float,
        extremes: float,
        polarity: str,
        places: str,
    ) -> None:
        super().__init__()
        self.size, self.k, self.weights, self.shared = size, k, (patches, extremes), places == "shared"
        self.signs = {"dark": (-1.0,), "bright": (1.0,), "both": (-1.0, 1.0)}[polarity]
        if not patches:  # what is left rises or falls with each pixel (contracts.Monotone)
            self.MONOTONE = CLAIMS[polarity]
        count = 1 if self.shared else (image_size // size) ** 2
        self.register_buffer("bank", torch.zeros(count, 1, channels * size * size))
        self.register_buffer("patch_usual", torch.zeros(count))
        self.register_buffer("median", torch.zeros(channels, image_size, image_size))
        self.register_buffer("usual", torch.zeros(len(self.signs), channels, image_size, image_size))

    def rows(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> patches (J, B, P) by place, or (1, B * J, P) where all places share a bank."""
        rows = F.unfold(images, self.size, stride=self.size)
        return rows.transpose(1, 2).flatten(0, 1)[None] if self.shared else rows.permute(2, 0, 1)

    def beyond(self, images: Tensor) -> Tensor:
        """(B, signs, C, H, W): how far each pixel lies beyond the median of its place, by direction."""
        return torch.stack([sign * (images - self.median) for sign in self.signs], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        weight, extreme = self.weights
        count = images.shape[0]  # len() would be that of one batch in a program
        score = extreme * self._extremes(images) if extreme else images.new_zeros(count)
        return score + weight * self._patches(self._nearest(self.rows(images)), count) if weight else score

    def decomposed(self, rising: Tensor, falling: Tensor) -> Tensor:
        """The extremes alone (B,), as of contracts.Monotone."""
        seen = {1.0: rising, -1.0: falling}
        beyond = torch.stack([sign * (seen[sign] - self.median) for sign in self.signs], dim=1)
        return self.weights[1] * soft_maximum((beyond - self.usual).flatten(1))

    def _extremes(self, images: Tensor, moved: float = 0.0) -> Tensor:
        """The largest excess (B,); moved: every pixel by so much in its own direction, its worst within linf."""
        return soft_maximum((self.beyond(images) + moved - self.usual).flatten(1))

    def _patches(self, distances: Tensor, count: int) -> Tensor:
        """(J, B) -> (B,)."""
        if self.shared:
            return soft_maximum((distances[0] - self.patch_usual[0]).view(count, -1))
        return soft_maximum((distances - self.patch_usual[:, None]).T)

    def _nearest(self, rows: Tensor) -> Tensor:
        """Distances (J, B) to the k nearest; found by matrix products, computed without them, which round badly."""
        k = min(self.k, self.bank.shape[1])
        with torch.no_grad():
            centre = self.bank.mean(dim=1, keepdim=True)
            bank = self.bank - centre
            squares = bank.square().sum(2)[:, None] - 2 * (rows - centre) @ bank.transpose(1, 2)
            found = squares.topk(k, 2, largest=False).indices
        chosen = torch.stack([stored[at] for stored, at in zip(self.bank, found, strict=True)])  # (J, B, k, P)
        return (rows[:, :, None] - chosen).square().mean((2, 3)).clamp(min=TINY).sqrt()

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in balls of R radii, a deterministic proof.

        linf: a pixel's distance u to a stored one becomes at least (|u| - r)+ and at most |u| + r; the mean of the k
        smallest and the maximum rise with each. l2 and l1: a part that moves by at most `slope` times the change.
        """
        weight, extreme = self.weights
        lower, upper, score = [], [], self(images).double()
        for radius in radii.tolist():
            if norm == "linf":
                low, high = (
                    extreme * self._extremes(images, way * radius)
                    + (weight * self._patches(self._moved(images, way * radius), len(images)) if weight else 0)
                    for way in (-1.0, 1.0)
                )
            else:
                slope = extreme + weight * self.bank.shape[2] ** -0.5
                low, high = score - slope * radius, score + slope * radius
            lower.append(torch.minimum(low.double(), score) - ROUNDING)
            upper.append(torch.maximum(high.double(), score) + ROUNDING)
        return torch.stack(lower, 1), torch.stack(upper, 1)

    def _moved(self, images: Tensor, by: float) -> Tensor:
        """Distances (J, B) with every difference to every stored pixel longer by that, at least 0."""
        places = []
        for rows, stored in zip(self.rows(images), self.bank, strict=True):
            parts = [
                self._mean_of_nearest((part[:, None] - stored).abs().add_(by).clamp_(min=0)) for part in rows.split(16)
            ]
            places.append(torch.cat(parts))
        return torch.stack(places)

    def _mean_of_nearest(self, distances: Tensor) -> Tensor:
        """(B, N, P) -> (B,)."""
        squares = distances.square().mean(2)
        return squares.topk(min(self.k, squares.shape[1]), 1, largest=False).values.mean(1).clamp(min=TINY).sqrt()
