"""Where a detector looks: the gradient of its score with respect to the pixels, as a smooth map.

Source: Pang et al. 2021, "Explainable Deep Few-shot Anomaly Detection with Deviation Networks", section 3.5, and its
released code for the clipping and the smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.errors import DivergedError, InputError

PERCENTILE = 0.99
SIGMA = 4.0
REACH = 4.0  # deviations at which the Gaussian is cut off


def explain(score: Callable[[Tensor], Tensor], images: Tensor, *, sigma: float = SIGMA) -> Tensor:
    """How much each pixel of images (B, C, H, W) moves its score: (B, H, W), at least 0, in score per unit of pixel.

    The absolute gradient, summed over channels, clipped at the 99th percentile of its image and smoothed by a Gaussian
    of `sigma` pixels (0: not at all). Weights get no `.grad`.
    Raises InputError for a score that has no gradient, DivergedError for a gradient that is not finite.
    """
    with torch.enable_grad():
        pixels = images.detach().clone().requires_grad_(True)
        scores = score(pixels)
        if not scores.requires_grad:
            raise InputError("the detector's score has no gradient with respect to the pixels, so none explains it")
        (gradient,) = torch.autograd.grad(scores.sum(), pixels)
    if not gradient.isfinite().all():
        raise DivergedError("the gradient of the score is not finite; the detector is broken for these images")
    found = gradient.abs().sum(dim=1)
    clipped = torch.stack([one.minimum(one.quantile(PERCENTILE)) for one in found])  # torch takes no large batch
    return smooth(clipped, sigma)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Maps (B, H, W) after a Gaussian filter of deviation `sigma` in pixels, the border's values going on outside."""
    if sigma <= 0:
        return maps
    radius = math.ceil(REACH * sigma)
    at = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.softmax(-(at**2) / (2 * sigma**2), dim=0)
    padded = F.pad(maps[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]
