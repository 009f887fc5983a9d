"""A nearest-neighbour score with its true value and the gradient of a smoother score."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from assay.contracts import Attacked
from assay.errors import InputError

Pool = Callable[[Tensor], Tensor]
"""Maps distances to the stored normals (B, N) to one value per image (B,)."""

TARGETS = 3  # rows


class Smoother:
    """The true score (B,) of images, with the gradient of the score pooled by `pool`; with pool=None, its own gradient.

    Raises InputError for a detector that does not implement contracts.SoftNeighbours.
    """

    def __init__(self, detector: Callable[[Tensor], Tensor]) -> None:
        if not hasattr(detector, "score_with"):
            raise InputError(
                "the attack 'neighbours' needs a detector that scores by distances to stored normals and has a "
                "method score_with(images, pool); this detector has none, use apgd instead"
            )
        self.detector, self.score_with = detector, detector.score_with
        self.pool: Pool | None = None
        self.extra = [0]  # forwards the objective did not count since the last one it did

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        smooth = self.pool is not None and images.requires_grad
        self.extra.append(self.extra[-1] + smooth)
        if not smooth:
            return self.detector(images)
        loss: Tensor = self.score_with(images, self.pool)
        with torch.no_grad():
            value = self.detector(images.detach())
        return value + (loss - loss.detach())

    def counted(self, attacked: Attacked) -> Attacked:
        """The result of an objective of this score, with every forward counted."""
        extra = torch.tensor(self.extra, device=attacked.forwards.device)
        at = attacked.broken_at
        return attacked._replace(
            forwards=attacked.forwards + extra[-1],
            broken_at=None if at is None else torch.where(at > 0, at + extra[at.clamp(min=0)], at),
        )


def soft_minimum(temperature: float) -> Pool:
    """A soft minimum of the distances. temperature: in their standard deviations; lower is closer to the min."""

    def pool(distances: Tensor) -> Tensor:
        scale = (temperature * distances.detach().std(1, correction=0, keepdim=True)).clamp(min=1e-12)
        return -scale.squeeze(1) * (-distances / scale).logsumexp(1)

    return pool


def targets(smoother: Smoother, clean: Tensor) -> Pool:
    """The mean distance to the few rows of each bank nearest to the clean images; costs one forward."""
    rows: list[Tensor] = []

    def note(distances: Tensor) -> Tensor:
        rows.append(distances.topk(min(TARGETS, distances.shape[1]), largest=False).indices)
        return distances[:, 0]

    with torch.no_grad():
        smoother.score_with(clean, note)
    smoother.extra[-1] += 1
    banks = itertools.cycle(rows)  # a detector queries its banks in the same order every time
    return lambda distances: distances.gather(1, next(banks)).mean(1)
