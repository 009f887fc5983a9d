"""Feature noise: Gaussian noise added to the features of normals, not to their pixels (SimpleNet, Liu et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.units import Positive

SPACE = "features"
"""Works on features, so only a trainable that has them can use it; items without this constant work on pixels."""


def feature_noise(features: Tensor, generator: torch.Generator, *, deviation: Positive = 0.015) -> Tensor:
    """Anomalous features (B, F): normal ones (B, F) with independent Gaussian noise added to every number.

    deviation: standard deviation of the noise, in the units of the features; SimpleNet's experiments use 0.015, its
    code defaults to 0.05. For trainables that separate features; cobra, which trains on images, rejects it.

    Looks like: nothing, as there is no picture of it.
    """
    noise = torch.randn(features.shape, generator=generator, device=generator.device)
    return features + deviation * noise.to(features)
