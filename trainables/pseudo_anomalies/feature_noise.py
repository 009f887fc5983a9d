"""Feature noise: Gaussian noise on the features of normals, not on their pixels (SimpleNet, Liu et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.units import Positive

SPACE = "features"
"""Works on features, so only a trainable that has some can use it; items without this constant work on pixels."""


def feature_noise(features: Tensor, generator: torch.Generator, *, deviation: Positive = 0.015) -> Tensor:
    """Anomalous features (B, F) for normal ones (B, F): each number with independent normal noise added.

    deviation: of the noise, in the features' own units; 0.015 is what SimpleNet runs with, 0.05 its code's default.
    For trainables that separate features. cobra, which trains on images, refuses it.

    Looks like: nothing, for there is no picture of it.
    """
    noise = torch.randn(features.shape, generator=generator, device=generator.device)
    return features + deviation * noise.to(features)
