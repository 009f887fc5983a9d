"""The raw score of a batch as something to maximise: counts its passes and remembers the best image of every sample.

Which score is returned: the images chosen at the end are scored once more, in one plain forward of the whole batch
without gradients, as anyone would score them later (some layers round differently while gradients are recorded).
Where that is worse than the plain score of the clean image or of `start`, the better of those is returned instead.
For a detector that is deterministic and scores every image by itself, the scores are therefore exactly
`score(images)`, and never worse for the attacker than the clean ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assay.attacks._ball import TOLERANCE, per_image, size
from assay.contracts import Attacked
from assay.errors import DataError, DivergedError, InputError

if TYPE_CHECKING:
    from assay.contracts import ThreatModel


class Objective:
    """direction * score of one batch of images; every image it is asked about is a candidate for the result.

    Raises DataError for images outside [0, 1] and for scores or gradients that are not finite, InputError for a
    direction, threat model, start or score that breaks its contract.
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        images: Tensor,
        direction: Tensor,
        threat: ThreatModel,
        start: Tensor | None,
    ) -> None:
        _check(images, direction, threat, start)
        self._score = score
        self._direction = direction.detach().to(images.device, torch.float32)
        self._forwards = self._backwards = 0
        self._broken = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self._best = images.detach()
        self._best_value = torch.full_like(self._direction, -math.inf)
        self.value(images)
        self._raise_if_broken()
        if start is not None:
            self.value(start)
        self._floor, self._floor_value = self._best, self._best_value

    def value(self, images: Tensor) -> Tensor:
        """direction * score (B,) of the images: one plain forward."""
        with torch.no_grad():
            value = self._signed(self._score(images.detach()))
        self._keep(images, value)
        return value

    def ascent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """direction * score (B,) and its gradient (B, C, H, W): one forward, one backward to the pixels alone."""
        with torch.inference_mode(False), torch.enable_grad():
            pixels = images.detach().clone().requires_grad_()
            value = self._signed(self._score(pixels))
            gradient = None
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value.sum(), pixels, allow_unused=True)
        if gradient is None:
            raise InputError(
                "the detector is not differentiable: its score has no gradient with respect to the image; "
                "use an attack that needs scores alone, such as noise"
            )
        self._backwards += 1
        self._broken |= ~gradient.isfinite().flatten(1).all(1)
        value = value.detach()
        self._keep(images, value)
        return value, gradient

    def attacked(self) -> Attacked:
        """The best images asked about, re-scored, and what everything cost."""
        images = self._best
        value = self.value(images)
        self._raise_if_broken()
        worse = value < self._floor_value
        images = torch.where(per_image(worse), self._floor, images)
        scores = self._direction * torch.where(worse, self._floor_value, value)
        count = torch.full_like(self._direction, 1, dtype=torch.int64)
        return Attacked(images, scores, count * self._forwards, count * self._backwards)

    def _signed(self, scores: Any) -> Tensor:
        self._forwards += 1
        expected = self._direction.shape
        if not isinstance(scores, Tensor) or scores.shape != expected:
            found = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
            raise InputError(
                f"a detector returns one score per image, a tensor of shape {tuple(expected)}; found {found}"
            )
        return self._direction * scores.float()

    def _keep(self, images: Tensor, value: Tensor) -> None:
        self._broken |= ~value.isfinite()
        better = value > self._best_value
        self._best = torch.where(per_image(better), images.detach(), self._best)
        self._best_value = torch.where(better, value, self._best_value)

    def _raise_if_broken(self) -> None:
        # Asked at the start and the end only: looking at a flag at every step would make a GPU wait for each.
        if broken := int(self._broken.sum()):
            raise DivergedError(
                f"the detector's score or its gradient is not finite (NaN or infinite) for {broken} of "
                f"{len(self._broken)} images in or near the ball; a score that can be audited is finite everywhere"
            )


def _check(images: Tensor, direction: Tensor, threat: ThreatModel, start: Tensor | None) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise DataError(f"images are floats of shape (B, C, H, W); found {images.dtype} of shape {tuple(images.shape)}")
    if outside := _outside_box(images):
        raise DataError(f"{outside} of {len(images)} images have pixels outside [0, 1] or NaN; scale images to [0, 1]")
    if direction.shape != images.shape[:1] or not bool((direction.abs() == 1).all()):
        raise InputError(
            f"direction is +1 (raise the score) or -1 (lower it) for each of the {len(images)} images; "
            f"found shape {tuple(direction.shape)}, values {sorted(set(direction.flatten().tolist()))[:5]}"
        )
    if threat.norm not in ("linf", "l2"):
        raise InputError(f"norm '{threat.norm}' is not known; there is: l2, linf")
    if not (math.isfinite(threat.epsilon) and threat.epsilon >= 0):
        raise InputError(f"epsilon is a finite number from 0 on, in pixel scale, such as 2/255; found {threat.epsilon}")
    if start is None:
        return
    if start.shape != images.shape:
        raise InputError(f"start has one image for every image, {tuple(images.shape)}; found {tuple(start.shape)}")
    far = int((size(start - images, threat.norm) > threat.epsilon + TOLERANCE).sum())
    if far or _outside_box(start):
        raise InputError(
            f"start must lie in the {threat.norm} ball of radius {threat.epsilon:g} and in [0, 1]; "
            f"{far} of {len(images)} images are outside the ball, {_outside_box(start)} outside [0, 1]"
        )


def _outside_box(images: Tensor) -> int:
    return int((~((images >= 0) & (images <= 1))).flatten(1).any(1).sum())
