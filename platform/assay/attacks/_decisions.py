"""Search along the decision boundary, for attacks that see only decisions and no scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import ThreatModel
from assay.norm_balls import per_image, size

HALVINGS = 12
"""Bisection steps. They leave 1/4096 of the distance, finer than the probes around the boundary can resolve."""


class Decisions:
    """Tracks, for every image, the nearest image `found` with the decision the attacker wants.

    radius (B,): its distance from the clean image. Until one is found, `found` is the clean image and radius is 0.
    asked (B,): queries so far, including earlier ones. crossed_at (B,): that number when the first such image inside
    the ball was found, or -1. Queried images do not become candidates of the objective, so the score never influences
    the search. On a CPU only images whose answer matters are asked about; on a GPU it would take longer to find out
    which these are.
    """

    def __init__(
        self,
        objective: Objective,
        clean: Tensor,
        direction: Tensor,
        threat: ThreatModel,
        threshold: float,
        asked: int,
    ) -> None:
        self.objective, self.clean, self.threat, self.threshold = objective, clean, threat, threshold
        self.direction = direction.to(clean.device, torch.float32)
        self.found, self.radius = clean, torch.zeros_like(self.direction)
        self.known = torch.zeros_like(self.direction, dtype=torch.bool)
        self.asked = torch.full_like(self.direction, asked, dtype=torch.int64)
        self.crossed_at = torch.full_like(self.asked, -1)

    def wanted(self, images: Tensor, among: Tensor | None = None) -> Tensor:
        """Whether each image (B,) gets the wanted decision: flagged if its score is to rise, passed if to fall.

        among (B,): the images that are asked about; False for the others.
        """
        if among is None or images.device.type != "cpu" or bool(among.all()):
            self.asked = self.asked + 1
            answer = self._decided(self.direction, self.objective.value(images, keep=False))
            return answer if among is None else answer & among
        answer, rows = torch.zeros_like(among), among.nonzero().flatten()
        if len(rows):
            self.asked = self.asked + among
            value = self.objective.value_of(rows, images[rows])
            answer[rows] = self._decided(self.direction[rows], value)
        return answer

    def _decided(self, direction: Tensor, value: Tensor) -> Tensor:
        return ((direction * value).double() > self.threshold) == (direction > 0)

    def offer(self, candidates: Sequence[Tensor], among: Tensor | None = None) -> None:
        """Take the first candidate with the wanted decision at most as far away as `found`, then bisect it closer.

        among (B,): the images that are offered one; all by default.
        """
        chosen, taken = self.found, torch.zeros_like(self.known)
        for candidate in candidates:
            candidate = candidate.clamp(0, 1)
            within = torch.where(per_image(self.known), self._shrunk(candidate, self.radius), candidate)
            better = self.wanted(within, ~taken if among is None else among & ~taken)
            chosen, taken = torch.where(per_image(better), within, chosen), taken | better
        outer = size(chosen - self.clean, self.threat.norm).to(self.radius)
        inner = torch.zeros_like(outer)
        for _ in range(HALVINGS):
            middle = (inner + outer) / 2
            enough = self.wanted(self._shrunk(chosen, middle), taken)
            inner, outer = torch.where(enough, inner, middle), torch.where(enough, middle, outer)
        self.found = torch.where(per_image(taken), self._shrunk(chosen, outer), self.found)
        self.radius = torch.where(taken, outer, self.radius)
        self.known = self.known | taken
        crossed = self.known & (self.radius <= self.threat.epsilon) & (self.crossed_at < 0)
        self.crossed_at = torch.where(crossed, self.asked, self.crossed_at)

    def normal(self, width: float, noise: Iterable[Tensor]) -> Tensor:
        """Estimated normal (B, C, H, W) of the decision boundary at `found`: the covariance of decision and noise.

        width: distance of the probes from `found`, relative to its distance from the clean image.
        """
        total = sum_wanted = sum_moved = torch.zeros_like(self.clean)
        count = 0
        for one in noise:
            if self.threat.norm != "linf":
                one = one / per_image(size(one, self.threat.norm)).to(one)
            probe = (self.found + width * per_image(self.radius) * one).clamp(0, 1)
            wanted = per_image(self.wanted(probe, self.known)).to(probe)
            moved = (probe - self.found) / per_image(self.radius.clamp(min=1e-12))
            total, sum_wanted, sum_moved = total + wanted * moved, sum_wanted + wanted, sum_moved + moved
            count += 1
        # Subtract the mean: it says how far `found` is from the boundary, but not in which direction the boundary lies.
        return total - sum_wanted * sum_moved / count

    def offer_nearest_of_the_batch(self) -> None:
        """To images without a `found` yet: the nearest image of the batch that has the wanted decision."""
        flagged = self.wanted(self.clean) == (self.direction > 0)
        apart = torch.cdist(self.clean.flatten(1), self.clean.flatten(1))
        apart = apart.masked_fill(flagged != (self.direction > 0)[:, None], torch.inf)
        use = ~self.known & apart.isfinite().any(1)
        self.offer([self.clean[apart.argmin(1)]], use)

    def _shrunk(self, images: Tensor, radius: Tensor) -> Tensor:
        """The images projected into balls of radius (B,) around the clean images."""
        moved, radius = images - self.clean, per_image(radius).to(images)
        if self.threat.norm == "linf":
            return self.clean + torch.maximum(torch.minimum(moved, radius), -radius)
        length = per_image(size(moved, self.threat.norm)).to(moved)
        return self.clean + moved * (radius / length.clamp(min=1e-12)).clamp(max=1)
