"""A tiny detector that stands in for a slow one, and counts the images that pass through it.

How many passes an attack makes hardly depends on the detector, so they can be counted on one that costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

SIDE, NEAREST = 8, 2


class _Counted(torch.autograd.Function):
    """The images as they are; a gradient that comes back through them is counted."""

    @staticmethod
    def forward(context: Any, images: Tensor, stand_in: StandIn) -> Tensor:
        context.stand_in = stand_in
        return images.view_as(images)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        context.stand_in.backwards += len(gradients[0])
        return gradients[0], None


def _coarse(images: Tensor) -> Tensor:
    """Grey pixels (B, 64) of images."""
    return nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), SIDE).flatten(1)


class StandIn(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> mean distance (B,) to the nearest normals, both at 8 x 8 pixels.

    forwards, backwards: how many images have passed. normals: those that it stores; its `threshold` flags a twentieth
    of them. gradient: False: the score has none, as a black box. With `score_with` and `with_bank`, so that attacks on
    neighbours and measurements of banks can be made on it.
    """

    COUNTED: ClassVar[tuple[str, ...]] = ("forwards", "backwards")
    rows: Tensor

    def __init__(self, normals: Tensor, gradient: bool = True) -> None:
        super().__init__()
        self.gradient, self.forwards, self.backwards = gradient, 0, 0
        self.register_buffer("rows", _coarse(normals))
        self.threshold = float(self(normals).quantile(0.95))
        self.forwards = self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_with(
            images, lambda distances: distances.topk(min(NEAREST, len(self.rows)), largest=False).values.mean(1)
        )

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the distances (B, N); contracts.SoftNeighbours."""
        self.forwards += len(images)
        seen: Tensor = _Counted.apply(images if self.gradient else images.detach(), self)  # type: ignore[no-untyped-call]
        return pool((_coarse(seen)[:, None] - self.rows).square().sum(2))

    def bank_rows(self) -> int:
        """The number of rows; contracts.Banked."""
        return len(self.rows)

    def with_bank(self, share: float) -> nn.Module:
        """Itself: a smaller bank is forecast at the time of the whole one."""
        return self
