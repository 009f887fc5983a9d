"""Gradient estimate for a score without gradients, from pairs of images on either side of a point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import ThreatModel
from assay.norm_balls import at_a_time, per_image, project, size


def slope(
    objective: Objective, at: Tensor, clean: Tensor, threat: ThreatModel, width: float, noise: Iterable[Tensor]
) -> Tensor:
    """Gradient (B, C, H, W) at `at`, averaged over noise samples (B, C, H, W); two forwards for each.

    width: distance of the probes on either side, as a share of epsilon: a factor of the noise for linf, the length of
    the step for other norms. Probes are projected into the ball so that they can be returned as results; the estimate
    uses the step that was actually made.
    """
    total = torch.zeros_like(at)
    for one in noise:
        if threat.norm != "linf":
            one = one / per_image(size(one, threat.norm)).to(one)
        up, down = (project(at + sign * width * threat.epsilon * one, clean, threat) for sign in (1, -1))
        rise, step = objective.value(up) - objective.value(down), up - down
        total += per_image(rise / size(step, "l2").square().clamp(min=1e-30)).to(step) * step
    return total


def gaussian(random: Sequence[torch.Generator], like: Tensor, count: int) -> Iterator[Tensor]:
    """So many samples of normal noise (B, C, H, W), each image from its own generator."""
    for few in at_a_time(count, like.numel()):
        drawn = [torch.randn((few, *like.shape[1:]), generator=one, device=one.device) for one in random]
        yield from torch.stack(drawn, dim=1).to(like)
