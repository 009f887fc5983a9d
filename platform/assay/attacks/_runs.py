"""Starting points of an attack's runs, several side by side in one batch, and the step lengths of a warm start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from assay.contracts import ThreatModel
from assay.norm_balls import per_image, random_point, size

AT_ONCE = 2**21
"""Most pixel values scored in one batch, however many restarts there are."""


def beginnings(
    clean: Tensor, threat: ThreatModel, random: Sequence[torch.Generator], first: Tensor | None, restarts: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Starting points of the runs and their clean images, (R * B, C, H, W), for as many runs R as fit in one batch.

    The first run starts at `first` if given, all others at random points of the ball.
    """
    together = max(1, AT_ONCE // max(1, clean.numel()))
    for done in range(0, restarts, together):
        runs = range(done, min(done + together, restarts))
        points = [first if run == 0 and first is not None else random_point(clean, threat, random) for run in runs]
        yield torch.cat(points), clean.repeat(len(points), 1, 1, 1)


def warm_step(start: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """Length (B,) of the first step from a start found at a smaller epsilon: twice the growth of the ball."""
    grown = threat.epsilon - size(start - clean, threat.norm)
    return (2 * grown).clamp(min=threat.epsilon / 4).to(clean)


def falling(start: Tensor, clean: Tensor, threat: ThreatModel, steps: int) -> list[Tensor]:
    """Lengths (B, 1, 1, 1) of that many steps, decreasing to almost 0."""
    first = per_image(warm_step(start, clean, threat))
    return [first * left / steps for left in range(steps, 0, -1)]
