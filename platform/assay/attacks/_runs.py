"""Where the runs of an attack begin, several side by side in one batch, and the steps of one that begins warm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from assay.contracts import ThreatModel
from assay.norm_balls import per_image, random_point, size

AT_ONCE = 2**21
"""Pixel values of the images that may be asked about in one batch, however many restarts there are."""


def beginnings(
    clean: Tensor, threat: ThreatModel, random: Sequence[torch.Generator], first: Tensor | None, restarts: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The first images of the runs and their clean images, (R * B, C, H, W), for as many runs R as fit side by side.

    The first run begins at `first` where that is given, every other at a random point of the ball.
    """
    together = max(1, AT_ONCE // max(1, clean.numel()))
    for done in range(0, restarts, together):
        runs = range(done, min(done + together, restarts))
        points = [first if run == 0 and first is not None else random_point(clean, threat, random) for run in runs]
        yield torch.cat(points), clean.repeat(len(points), 1, 1, 1)


def warm_step(start: Tensor, clean: Tensor, threat: ThreatModel) -> Tensor:
    """The length (B,) of the first step from a start at a smaller epsilon: twice what the ball has grown by."""
    grown = threat.epsilon - size(start - clean, threat.norm)
    return (2 * grown).clamp(min=threat.epsilon / 4).to(clean)


def falling(start: Tensor, clean: Tensor, threat: ThreatModel, steps: int) -> list[Tensor]:
    """The lengths (B, 1, 1, 1) of so many steps from there, down to nearly 0."""
    first = per_image(warm_step(start, clean, threat))
    return [first * left / steps for left in range(steps, 0, -1)]
