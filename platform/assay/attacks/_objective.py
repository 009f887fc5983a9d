"""The raw score of a batch as a function to maximise; counts passes and keeps the best image of every sample.

Returned scores: at the end, the chosen images are scored once more in one plain forward pass of the whole batch without
gradients, as any later caller would score them (some layers round differently while gradients are recorded). This is
skipped if the last forward was exactly that. If the result is worse than the plain score of the clean image or of
`start`, the better of those two is returned. For a detector that is deterministic and scores each image independently,
the returned scores equal `score(images)` exactly and are never worse for the attacker than the clean ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from assay.contracts import Attacked, Norm
from assay.errors import DataError, DivergedError, InputError
from assay.norm_balls import BALLS, TOLERANCE, per_image, size
from assay.runtime.float32 import rough_float32

if TYPE_CHECKING:
    from assay.contracts import ThreatModel

Precision = Literal["float32", "tf32", "bfloat16"]
"""Precision of the passes with a gradient; results are always confirmed in float32. On a CPU tf32 is float32.

`tf32`, the default of attacks that make steps: a GPU then takes a quarter of the time. In l1 it is float32, too: there
a step moves the few pixels with the steepest gradients, and with rounded ones FAB found a sixth less.
"""
NEVER = 2**62
"""The forward pass after which an image crosses the threshold that has not crossed it yet."""


class Objective:
    """direction * score of one batch of images; every image it scores is a candidate for the result.

    Can score R images per sample at once: (R * B, C, H, W), ordered run by run.
    norms: the norms the attack supports. precision: of `ascent`. Raises DataError for images outside [0, 1] and for
    scores or gradients that are not finite, InputError for an invalid direction, threat model, start or score.
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        images: Tensor,
        direction: Tensor,
        threat: ThreatModel,
        start: Tensor | None,
        *,
        norms: Sequence[str] = get_args(Norm),
        precision: Precision = "float32",
    ) -> None:
        _check(images, direction, threat, start, norms)
        self._score = score
        self._direction = direction.detach().to(images.device, torch.float32)
        exact = precision == "tf32" and (threat.norm == "l1" or not images.is_cuda)
        self._precision: Precision = "float32" if exact else precision
        self._threshold, self._rough = threat.threshold, self._precision != "float32"
        self._forwards = self._backwards = 0  # of every image
        self._alone: Tensor | None = None  # (B,) further forwards of single images
        self._largest = torch.zeros_like(self._direction)  # of all scores and gradients: NaN and infinity stay in it
        self._turned_from = self._turning_point()
        self._crossed_at = torch.full_like(self._direction, NEVER, dtype=torch.int64)
        self._best, self._best_rough = _Best(images, self._direction), _Best(images, self._direction)
        clean = self.value(images)
        self._raise_if_broken()
        if start is not None:
            self.value(start)
        self._floor, self._floor_value = self._best.images, self._best.value
        self._crossed_clean = self._crosses(clean)

    def value(self, images: Tensor, *, keep: bool = True) -> Tensor:
        """direction * score in one plain forward. keep=False: the images may lie outside the ball, so keep none."""
        with torch.no_grad():
            value = self._signed(self._score(images.detach()), images)
        if keep:
            self._keep(images, value)
            self._last_is_plain = len(images) == len(self._direction)
        return value

    def value_of(self, rows: Tensor, images: Tensor) -> Tensor:
        """direction * score (K,) of images for some samples, rows (K,), none of which is kept."""
        with torch.no_grad():
            value = self._direction[rows] * _one_each(self._score(images.detach()), images)
            alone = torch.zeros_like(self._crossed_at) if self._alone is None else self._alone
            self._alone = alone.index_add(0, rows, torch.ones_like(rows))
            self._largest = self._largest.index_copy(0, rows, torch.maximum(self._largest[rows], value.abs()))
        return value

    def ascent(self, images: Tensor, *, keep: bool = True) -> tuple[Tensor, Tensor]:
        """direction * score and its gradient w.r.t. the images, in one forward and one backward pass."""
        tf32 = rough_float32() if self._precision == "tf32" else nullcontext()
        with torch.inference_mode(False), torch.enable_grad(), tf32:
            pixels = images.detach().clone().requires_grad_()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
                value = self._signed(self._score(pixels), images)
            gradient = None
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value.sum(), pixels, allow_unused=True)
        if gradient is None:
            raise InputError(
                "the detector is not differentiable: its score has no gradient with respect to the image; "
                "use an attack that needs scores alone, such as noise"
            )
        value = value.detach()
        self._backwards += len(images) // len(self._direction)
        self._note_broken(gradient.flatten(1).abs().amax(1))
        if keep and self._rough:
            self._best_rough.keep(images, value)
        elif keep:
            self._keep(images, value)
            self._last_is_plain = False
        return value, gradient

    def attacked(self) -> Attacked:
        """The best images seen, scored again, and the number of passes."""
        if self._rough:  # low-precision values are only compared with each other
            self.value(self._best_rough.images)
        images, value = self._best.images, self._best.value
        if not (self._last_is_plain and bool(self._best.latest.all())):
            value = self.value(images)
        self._raise_if_broken()
        worse = value < self._floor_value
        images = torch.where(per_image(worse), self._floor, images)
        value = torch.where(worse, self._floor_value, value)
        count = torch.ones_like(self._crossed_at)
        forwards = count * self._forwards + (0 if self._alone is None else self._alone)
        # A crossing counts only if the final scores confirm it: some layers round differently with gradients.
        seen = torch.minimum(self._crossed_at, forwards)
        broken_at = torch.where(self._crosses(value), seen, -1)
        return Attacked(images, self._direction * value, forwards, count * self._backwards, broken_at)

    def missing(self, value: Tensor) -> Tensor:
        """(B,) float64: how far direction * score must rise from `value` to reach the threshold.

        Infinite without a threshold, and where the clean image is already beyond it.
        """
        if self._threshold is None:
            return torch.full_like(value, math.inf, dtype=torch.float64)
        return (self._direction * self._threshold - value.double()).masked_fill(self._crossed_clean, math.inf)

    def _crosses(self, value: Tensor) -> Tensor:
        """Whether images with these values get the decision the attacker wants; flagged means score > threshold."""
        if self._turned_from is None:
            return torch.zeros_like(value, dtype=torch.bool)
        return (value.double().reshape(-1, len(self._direction)) >= self._turned_from).flatten()

    def _turning_point(self) -> Tensor | None:
        """(B,) float64: from which direction * score on the decision is the one that the attacker wants."""
        if self._threshold is None:
            return None
        up, down = math.nextafter(self._threshold, math.inf), -self._threshold
        return torch.full_like(self._direction, down, dtype=torch.float64).masked_fill(self._direction > 0, up)

    def _signed(self, scores: Any, images: Tensor) -> Tensor:
        runs = len(images) // len(self._direction)
        value = self._direction.repeat(runs) * _one_each(scores, images)
        self._forwards += runs
        self._note_broken(value.detach())
        return value

    def _keep(self, images: Tensor, value: Tensor) -> None:
        self._best.keep(images, value)
        if self._threshold is None:
            return
        crosses = self._crosses(value).reshape(-1, len(self._direction))
        forward = torch.arange(self._forwards - len(crosses) + 1, self._forwards + 1, device=value.device)[:, None]
        first = torch.where(crosses, forward if self._alone is None else forward + self._alone, NEVER).amin(0)
        self._crossed_at = torch.minimum(self._crossed_at, first)

    def _note_broken(self, value: Tensor) -> None:
        self._largest = torch.maximum(self._largest, value.abs().reshape(-1, len(self._direction)).amax(0))

    def _raise_if_broken(self) -> None:
        # Only checked at the start and the end: reading a flag at every step would stall a GPU.
        if broken := int((~self._largest.isfinite()).sum()):
            count = len(self._largest)
            raise DivergedError(
                f"the detector's score or its gradient is not finite (NaN or infinite) for {broken} of {count} images "
                "in or near the ball; a detector can only be audited if its score is finite"
            )


class _Best:
    """Keeps the image of every sample with the highest value so far; `latest` (B,): those of the last call."""

    def __init__(self, images: Tensor, direction: Tensor) -> None:
        self.images, self.value = images.detach(), torch.full_like(direction, -math.inf)
        self.latest = torch.zeros_like(direction, dtype=torch.bool)

    def keep(self, images: Tensor, value: Tensor) -> None:
        images, count = images.detach(), len(self.value)
        if len(images) > count:  # several images per sample: keep the best of them
            value, run = value.reshape(-1, count).max(0)
            images = images[run * count + torch.arange(count, device=run.device)]
        self.latest = value > self.value
        self.images = torch.where(per_image(self.latest), images, self.images)
        self.value = torch.where(self.latest, value, self.value)


def _one_each(scores: Any, images: Tensor) -> Tensor:
    """The scores (B,) of images (B, C, H, W) in float32; raises InputError for anything else."""
    if not isinstance(scores, Tensor) or scores.shape != images.shape[:1]:
        actual = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"a detector must return one score per image, shape {tuple(images.shape[:1])}; found {actual}")
    return scores.float()


def _check(images: Tensor, direction: Tensor, threat: ThreatModel, start: Tensor | None, norms: Sequence[str]) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise DataError(f"images must be floats of shape (B, C, H, W); found {images.dtype}, {tuple(images.shape)}")
    if outside := _outside_box(images):
        raise DataError(f"{outside} of {len(images)} images have pixels outside [0, 1] or NaN; scale images to [0, 1]")
    if direction.shape != images.shape[:1] or not bool((direction.abs() == 1).all()):
        raise InputError(
            f"direction must be +1 (raise the score) or -1 (lower it) for each of the {len(images)} images; "
            f"found shape {tuple(direction.shape)}, values {sorted(set(direction.flatten().tolist()))[:5]}"
        )
    if threat.norm not in norms:
        raise InputError(
            f"this attack does not support the norm '{threat.norm}'; choose from: {', '.join(sorted(norms))}"
        )
    if not (math.isfinite(threat.epsilon) and threat.epsilon >= 0):
        raise InputError(f"epsilon must be a finite number >= 0 in pixel scale, such as 2/255; found {threat.epsilon}")
    if start is None:
        return
    if start.shape != images.shape:
        raise InputError(f"start must have the shape of the images, {tuple(images.shape)}; found {tuple(start.shape)}")
    far = threat.norm in BALLS and int((size(start - images, threat.norm) > threat.epsilon + TOLERANCE).sum())
    if far or _outside_box(start):
        raise InputError(
            f"start must lie in the {threat.norm} ball of radius {threat.epsilon:g} and in [0, 1]; "
            f"{far} of {len(images)} images are outside the ball, {_outside_box(start)} outside [0, 1]"
        )


def _outside_box(images: Tensor) -> int:
    return int((~((images >= 0) & (images <= 1))).flatten(1).any(1).sum())
