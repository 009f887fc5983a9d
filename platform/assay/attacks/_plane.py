"""Steps of minimum-norm attacks: to the plane where the linearised score reaches a given level."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.contracts import Norm, ThreatModel
from assay.norm_balls import fill, furthest, room, solve


def promised(gradient: Tensor, at: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """(B,) float64: the largest rise of the score within the ball, according to its linearisation at `at`."""
    return rise(gradient, furthest(gradient, clean, threat) - at)


def rise(gradient: Tensor, step: Tensor) -> Tensor:
    """(B,) float64: how far a linear function with this gradient rises along a step."""
    return (gradient.double() * step).flatten(1).sum(1)


def onto_plane(gradient: Tensor, at: Tensor, gap: Tensor, norm: Norm) -> Tensor:
    """The smallest step (B, C, H, W) from `at`, inside the box, along which a linear function rises by gap (B,).

    Exact for linf, l2 and l1 (Croce & Hein 2020 FAB, section 2.1). If the gap cannot be closed inside the box, the step
    goes to the farthest corner.
    """
    uphill = gradient * torch.where(gap < 0, -1, 1).reshape(-1, 1, 1, 1)
    steep, reach, total = uphill.flatten(1).abs().double(), room(uphill, at), gap.abs().unsqueeze(1)
    if norm == "l1":
        step = fill(steep, reach, steep, total)
    else:
        speed = (steep > 0).double() if norm == "linf" else steep
        until = (reach / speed).masked_fill(speed == 0, 0)
        step = torch.minimum(speed * solve(speed * steep, until, total), reach).nan_to_num()
    return uphill.sign() * step.reshape(at.shape).to(at)
