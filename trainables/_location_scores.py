"""The detector DevNet deploys: a score at every location of a feature map, and the mean of the largest of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.errors import InputError
from assay.shelves import Item


class LocationScores(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,) >= 0, higher is more anomalous.

    At full and at half size, a 1x1 convolution gives every location of the backbone's feature map a number; its
    absolute value is the location's score. The result is the mean of the `top` share of them, averaged over both sizes.
    Source: Pang et al. 2021, "Explainable Deep Few-shot Anomaly Detection with Deviation Networks", section 3.
    """

    def __init__(self, backbone: Item, channels: int, top: float) -> None:
        super().__init__()
        self.top = top
        self.backbone = backbone.function(channels=channels, **backbone.arguments())
        if not callable(getattr(self.backbone, "maps", None)):
            raise InputError(
                f"backbone '{backbone.name}' gives no feature map; it must have a method "
                "maps(images) -> (B, features, h, w), as every backbone of `assay ls backbones` has"
            )
        self.head = nn.Conv2d(self.backbone.features, 1, 1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The feature maps (B, F, h, w) at full and at half size."""
        return [self.backbone.maps(images), self.backbone.maps(F.avg_pool2d(images, 2, ceil_mode=True))]

    def locations(self, maps: list[Tensor]) -> list[Tensor]:
        """The scores (B, h * w) >= 0 of all locations of each map."""
        return [self.head(one).flatten(1).abs() for one in maps]

    def pooled(self, locations: list[Tensor]) -> Tensor:
        """The score (B,): the mean of the largest of each map (at least one), averaged."""
        return torch.stack([_mean_of_top(one, self.top) for one in locations]).mean(dim=0)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_and_map(images)[0]

    def score_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and the scores (B, h, w) of the locations at full size."""
        maps = self.maps(images)
        locations = self.locations(maps)
        return self.pooled(locations), locations[0].view(-1, *maps[0].shape[2:])


def _mean_of_top(scores: Tensor, share: float) -> Tensor:
    return scores.topk(max(1, int(share * scores.shape[1])), dim=1).values.mean(dim=1)
