"""The gradient of a score that only answers with numbers: estimated from pairs of images on either side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import ThreatModel
from assay.norm_balls import per_image, project, size


def slope(
    objective: Objective, at: Tensor, clean: Tensor, threat: ThreatModel, width: float, noise: Iterable[Tensor]
) -> Tensor:
    """A gradient (B, C, H, W) at `at` from two forwards for every noise (B, C, H, W): the mean over both sides of it.

    width: how far to either side an image is tried, in epsilon: times the noise for linf, the length of the step for
    other norms. What is tried is moved into the ball, so that it may be returned; it is the step made that counts.
    """
    total = torch.zeros_like(at)
    for one in noise:
        if threat.norm != "linf":
            one = one / per_image(size(one, threat.norm)).to(one)
        up, down = (project(at + sign * width * threat.epsilon * one, clean, threat) for sign in (1, -1))
        rise, step = objective.value(up) - objective.value(down), up - down
        total += per_image(rise / size(step, "l2").square().clamp(min=1e-30)).to(step) * step
    return total


def gaussian(random: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Normal noise (B, C, H, W), every image from its own stream."""
    shape = like.shape[1:]
    return torch.stack([torch.randn(shape, generator=one, device=one.device) for one in random]).to(like)
