"""The smallest epsilon that turns the decision on each sample of a slice.

Up the epsilons of the suite, attacking only those still undecided, then bisection between the last epsilon that left
the decision alone and the first that turned it. Every attack is short and starts at the best image known, so the
result is an upper bound: a stronger attack may need less.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor, nn

from assay.attacks import apgd
from assay.audits.job import Job
from assay.contracts import Images, Norm, ThreatModel
from assay.data.random_streams import streams_of
from assay.models.scoring import pixels, score
from assay.norm_balls import project
from assay.store.schemas import MINIMAL

STEPS = 20
HALVINGS = 4


@dataclass(frozen=True, kw_only=True)
class MinimalEpsilonJob(Job):
    """MINIMAL of one norm that Auto-PGD knows.

    epsilons: rising. threshold: the detector's. steps: of each attack. halvings: of the piece between two epsilons.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ("minimal",)

    norm: Norm
    epsilons: tuple[float, ...]
    threshold: float
    steps: int = STEPS
    halvings: int = HALVINGS

    @property
    def label(self) -> str:
        """`minimal-` and the norm."""
        return f"minimal-{self.norm}"

    @property
    def settings(self) -> list[Any]:
        """The epsilons, the threshold, and how long to look."""
        return [list(self.epsilons), self.threshold, self.steps, self.halvings]

    def compute(self, images: Images, detector: nn.Module, *others: nn.Module) -> tuple[pa.Table, ...]:
        """MINIMAL: 0 for a decision that is wrong already, infinite where no epsilon of the suite turned it."""
        began = time.monotonic()
        search = _Search(self, detector, images)
        search.climb()
        for _ in range(self.halvings):
            search.halve()
        columns = {
            "norm": self.norm,
            "threshold": self.threshold,
            "largest": self.epsilons[-1],
            "seconds": (time.monotonic() - began) / len(images),
            "clean_score": search.clean_scores.double().cpu().numpy(),
            "clean_correct": search.correct.cpu().numpy(),
            "epsilon": search.broken.cpu().numpy(),
            "forwards": search.forwards.cpu().numpy(),
            "backwards": search.backwards.cpu().numpy(),
        }
        return (self.table(images, MINIMAL, columns),)


class _Search:
    """For every sample the epsilon that is known to hold, the one that is known to break it, and an image to go on."""

    def __init__(self, job: MinimalEpsilonJob, detector: nn.Module, images: Images) -> None:
        self.job, self.detector = job, detector
        self.clean = pixels(images, 0, len(images), job.device)
        self.direction = torch.from_numpy(1 - 2 * images.labels).to(job.device)
        self.clean_scores = score(detector, self.clean, "clean")
        self.random = streams_of(images, job.seed, job.label, job.device)
        self.correct = ~self._turned(self.clean_scores, self.direction)
        self.holds = torch.zeros(len(images), dtype=torch.float64, device=job.device)
        self.broken = torch.where(self.correct, math.inf, self.holds)
        self.best = self.clean.clone()  # at `broken` where that is known, else at `holds`
        self.forwards = torch.ones_like(self.direction)
        self.backwards = torch.zeros_like(self.direction)

    def climb(self) -> None:
        """Go up the epsilons, attacking only samples still undecided."""
        for epsilon in self.job.epsilons:
            self._try(epsilon, (self.broken == math.inf).nonzero().squeeze(1))

    def halve(self) -> None:
        """Halve every piece between an epsilon that holds and one that breaks; samples with the same piece together."""
        open_ = (self.broken > self.holds) & self.broken.isfinite()
        middles = (self.holds + self.broken) / 2
        for epsilon in sorted(set(middles[open_].tolist())):
            self._try(epsilon, (open_ & (middles == epsilon)).nonzero().squeeze(1))

    def _try(self, epsilon: float, at: Tensor) -> None:
        """Attack the samples `at` at one epsilon and note what it did to each."""
        if not len(at):
            return
        threat = ThreatModel(self.job.norm, epsilon, self.job.threshold)
        clean, direction = self.clean[at], self.direction[at]
        start = project(self.best[at], clean, threat)
        random = [self.random[i] for i in at.tolist()]
        attacked = apgd.apgd(self.detector, clean, direction, threat, random, start=start, steps=self.job.steps)
        turned = self._turned(score(self.detector, attacked.images, "attacked"), direction)
        self.forwards[at] += attacked.forwards + 1
        self.backwards[at] += attacked.backwards
        self.broken[at] = self.broken[at].where(~turned, epsilon)
        self.holds[at] = self.holds[at].where(turned, epsilon)
        keep = turned | self.broken[at].isinf()
        self.best[at[keep]] = attacked.images[keep]

    def _turned(self, scores: Tensor, direction: Tensor) -> Tensor:
        """Whether the decision is the wrong one; flagged means score > threshold."""
        return (scores.double() > self.job.threshold) == (direction > 0)
