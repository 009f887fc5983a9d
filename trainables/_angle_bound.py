"""Proven bounds on the cosine distance to stored neighbours if a feature vector moves by a bounded length.

A vector of length n that moves by at most r < n turns by at most arcsin(r / n); one that may move by its whole length
can point anywhere. An angle t to a neighbour becomes some angle in [t - turn, t + turn], and the mean of the k smallest
distances increases with each of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.contracts import Norm
from trainables._radius import in_l2


def distance_bounds(rows: Tensor, bank: Tensor, reaches: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Bounds (B, R), (B, R) of the mean cosine distance of rows (B, F) to their k nearest of unit rows (N, F).

    reaches: (R,) how far a row may move, in l2. The bounds are widened by the rounding error of float32 sums over F
    features, so that they hold for scores computed in float32.
    """
    lengths = rows.norm(dim=1, keepdim=True)
    angles = torch.arccos((F.normalize(rows, dim=1) @ bank.T).clamp(-1, 1))
    rounding = rows.shape[1] * torch.finfo(torch.float32).eps
    lower, upper = [], []
    for reach in reaches:
        turn = torch.where(reach < lengths, torch.arcsin((reach / lengths).clamp(max=1)), math.pi)
        lower.append(_mean_of_nearest((angles - turn).clamp(min=0), k) - rounding)
        upper.append(_mean_of_nearest((angles + turn).clamp(max=math.pi), k) + rounding)
    return torch.stack(lower, dim=1), torch.stack(upper, dim=1)


def pixel_bounds(images: Tensor, norm: Norm, radii: Tensor, side: int, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Bounds (B, R), (B, R) of the mean cosine distance of shrunk pixels to their k nearest of unit rows (N, F).

    A cosine ignores contrast, so the features can be taken as the centred image after shrinking. Centring does not
    lengthen a change, and shrinking multiplies its length by at most `pooling_gain`.
    """
    centred = images.double() - images.double().mean(dim=(1, 2, 3), keepdim=True)
    rows = F.adaptive_avg_pool2d(centred, side).flatten(1)
    reaches = in_l2(radii, norm, images) * pooling_gain(images.shape[2], images.shape[3], side)
    return distance_bounds(rows, bank, reaches, k)


def pooling_gain(height: int, width: int, side: int) -> float:
    """The largest factor by which average pooling of (height, width) to (side, side) scales the l2 norm of a change."""
    gains = [
        torch.linalg.matrix_norm(F.adaptive_avg_pool1d(torch.eye(size, dtype=torch.float64), side), ord=2)
        for size in (height, width)
    ]
    return float(gains[0] * gains[1])


def _mean_of_nearest(angles: Tensor, k: int) -> Tensor:
    nearest = angles.topk(min(k, angles.shape[1]), dim=1, largest=False).values
    return (1 - torch.cos(nearest)).mean(dim=1)
