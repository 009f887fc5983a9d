"""Acceptance: another pseudo-anomaly, redrawn where it looks like a normal image (COBRA's threshold filter)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.errors import InputError
from assay.shelves import Item, Shelf
from assay.units import Count, Fraction
from trainables.pseudo_anomalies._density import Density
from trainables.pseudo_anomalies._items import Maker, OnPixels, ready

FEWEST = 10
CHUNK = 256


class Acceptance:
    """Images (B, C, H, W) in [0, 1], changed by another pseudo-anomaly until they no longer look normal.

    of: the pseudo-anomaly. percentile: a draw is accepted if its density is below this percentile of the normals': 0.05
    asks it to be rarer than 95 % of normals, the default rarer than half. On ELPV at 64 pixels 0.05, 0.5 and 0.75
    reject 95, 30 and 3 % of `cutpaste`. 0.99 is the threshold of COBRA's released code: it accepts 99 % of the normals
    themselves, and rejected nothing there.
    tries: draws per image before the least typical of them is taken; 5 are the released code's first and 4 retries.
    backbone: extracts the features; its weights are not trained, and random ones are those of seed 0.
    The density is a Gaussian with full, shrunk covariance, fitted to every other train normal; the percentile is taken
    over the rest, which it has not seen. After each call `rejected` is the share of draws that were not accepted.

    Looks like: what it wraps, without the draws that nobody would notice.
    """

    def __init__(
        self,
        *,
        of: OnPixels = Item("pseudo_anomalies", "cutpaste", {}),
        percentile: Annotated[Fraction, Gt(0)] = 0.5,
        tries: Annotated[Count, Le(50)] = 5,
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "efficientnet_lite0", {}),
    ) -> None:
        self.of, self.percentile, self.tries, self.backbone = of, percentile, tries, backbone
        self.rejected = 0.0

    def fit(self, normals: Tensor) -> None:
        """Fit the density to train normals (N, C, H, W), on their device; raises InputError for fewer than 10."""
        if len(normals) < FEWEST:
            raise InputError(
                f"acceptance needs at least {FEWEST} normals, there are {len(normals)}; "
                "use more of them, or another pseudo-anomaly"
            )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = self.backbone.function(channels=normals.shape[1], **self.backbone.arguments())
        self.network = network.to(normals.device).eval().requires_grad_(False)
        self.make: Maker = ready(self.of, normals)
        with torch.no_grad():
            features = torch.cat([self.network(chunk) for chunk in torch.split(normals, CHUNK)])
        self.density = Density(features[::2])
        self.limit = self.density(features[1::2]).quantile(self.percentile)

    @torch.no_grad()
    def densities(self, images: Tensor) -> Tensor:
        """How typical images (B, C, H, W) are of the normals: log-densities (B,), rejected from `limit` on."""
        densities: Tensor = self.density(self.network(images))
        return densities

    def __call__(self, images: Tensor, generator: torch.Generator) -> PseudoAnomalies:
        """The first accepted draw of every image, or else its least typical one."""
        made = self.make(images, generator)
        usual = self.densities(made.images)
        pending = usual >= self.limit
        drawn, refused = len(images), int(pending.sum())
        for _ in range(self.tries - 1):
            if not pending.any():
                break
            again = self.make(images, generator)
            density = self.densities(again.images)
            drawn, refused = drawn + int(pending.sum()), refused + int((pending & (density >= self.limit)).sum())
            better = pending & (density < usual)
            usual = torch.where(better, density, usual)
            pending = usual >= self.limit
            chosen = better[:, None, None, None]
            pairs = zip(again, made, strict=True)
            made = PseudoAnomalies(*(torch.where(chosen, new, old) for new, old in pairs))
        self.rejected = refused / drawn
        return made
