"""What can be learned of a detector from its decisions alone: nearest known image of the other decision, normal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from assay.attacks._objective import Objective
from assay.contracts import ThreatModel
from assay.norm_balls import per_image, size

HALVINGS = 12
"""Of a distance: to 1/4096 of it, finer than what the probes around the boundary can tell apart."""


class Decisions:
    """For every image the nearest `found` that is decided as the attacker wants, and its distance `radius` (B,).

    Where there is none, the clean image and 0. asked: questions so far, those asked before included; crossed_at (B,):
    how many it had been when one in the ball was found, -1 for never. No image asked about becomes a candidate of the
    objective, so the score has no say in what is found.
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
        self.asked, self.crossed_at = asked, torch.full_like(self.direction, -1, dtype=torch.int64)

    def wanted(self, images: Tensor) -> Tensor:
        """Whether each image (B,) is flagged where the score is to be raised, passed where it is to be lowered."""
        self.asked += 1
        scores = self.direction * self.objective.value(images, keep=False)
        return (scores.double() > self.threshold) == (self.direction > 0)

    def offer(self, candidates: Sequence[Tensor]) -> None:
        """Take the first candidate that is wanted no further away than `found`, and bring it as near as it goes."""
        chosen, taken = self.found, torch.zeros_like(self.known)
        for candidate in candidates:
            candidate = candidate.clamp(0, 1)
            within = torch.where(per_image(self.known), self._shrunk(candidate, self.radius), candidate)
            better = self.wanted(within) & ~taken
            chosen, taken = torch.where(per_image(better), within, chosen), taken | better
        outer = size(chosen - self.clean, self.threat.norm).to(self.radius)
        inner = torch.zeros_like(outer)
        for _ in range(HALVINGS):
            middle = (inner + outer) / 2
            enough = self.wanted(self._shrunk(chosen, middle))
            inner, outer = torch.where(enough, inner, middle), torch.where(enough, middle, outer)
        self.found = torch.where(per_image(taken), self._shrunk(chosen, outer), self.found)
        self.radius = torch.where(taken, outer, self.radius)
        self.known = self.known | taken
        crossed = self.known & (self.radius <= self.threat.epsilon) & (self.crossed_at < 0)
        self.crossed_at = torch.where(crossed, self.asked, self.crossed_at)

    def normal(self, width: float, noise: Iterable[Tensor]) -> Tensor:
        """Where around `found` the wanted decisions lie (B, C, H, W): how decision and noise vary together.

        width: how far away is asked, over the distance from the clean image.
        """
        total = sum_wanted = sum_moved = torch.zeros_like(self.clean)
        count = 0
        for one in noise:
            if self.threat.norm != "linf":
                one = one / per_image(size(one, self.threat.norm)).to(one)
            probe = (self.found + width * per_image(self.radius) * one).clamp(0, 1)
            wanted = per_image(self.wanted(probe)).to(probe)
            moved = (probe - self.found) / per_image(self.radius.clamp(min=1e-12))
            total, sum_wanted, sum_moved = total + wanted * moved, sum_wanted + wanted, sum_moved + moved
            count += 1
        # Without the mean, which says how far `found` is from the boundary and nothing of where it lies.
        return total - sum_wanted * sum_moved / count

    def nearest_of_the_batch(self) -> Tensor:
        """For an image of which nothing is known, the nearest one of the batch that is decided as wanted for it."""
        flagged = self.wanted(self.clean) == (self.direction > 0)
        apart = torch.cdist(self.clean.flatten(1), self.clean.flatten(1))
        apart = apart.masked_fill(flagged != (self.direction > 0)[:, None], torch.inf)
        use = ~self.known & apart.isfinite().any(1)
        return torch.where(per_image(use), self.clean[apart.argmin(1)], self.found)

    def _shrunk(self, images: Tensor, radius: Tensor) -> Tensor:
        """The images brought into the balls of radius (B,) around the clean ones."""
        moved, radius = images - self.clean, per_image(radius).to(images)
        if self.threat.norm == "linf":
            return self.clean + torch.maximum(torch.minimum(moved, radius), -radius)
        length = per_image(size(moved, self.threat.norm)).to(moved)
        return self.clean + moved * (radius / length.clamp(min=1e-12)).clamp(max=1)
