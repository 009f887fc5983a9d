"""The work of an audit that finds, for each sample of a slice, the smallest epsilon that turns its decision.

Up the epsilons of the suite, attacking only those still undecided, then bisection between the last epsilon that left
the decision alone and the first that turned it. Every attack is short and begins at the best image known, so what is
found is an upper bound: a stronger attack may need less. Needs no Ray.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from assay.attacks import apgd
from assay.audits.attack_job import one_thread, scored
from assay.contracts import Images, Norm, ThreatModel
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.norm_balls import project
from assay.runtime.out_of_memory import halving
from assay.store import parquet
from assay.store.schemas import MINIMAL
from assay.store.store import Store
from assay.sweeps.evaluation import pixels, take

STEPS = 20
HALVINGS = 4


@dataclass(frozen=True)
class Minimal:
    """What a worker is told, in plain values.

    epsilons: rising. threshold: the detector's. images: the slice, `first` the index of its first. steps: of each
    attack. halvings: of the piece between two epsilons.
    """

    audit: str
    model: str
    dataset: str
    norm: Norm
    epsilons: tuple[float, ...]
    threshold: float
    images: Images
    first: int
    seed: int
    device: str = "cpu"
    steps: int = STEPS
    halvings: int = HALVINGS

    @property
    def label(self) -> str:
        """What progress calls it."""
        return f"minimal-{self.norm}"

    @functools.cached_property
    def key(self) -> str:
        """The store's key of what was found."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        how = [list(self.epsilons), self.threshold, self.steps, self.halvings, self.seed]
        content = [self.model, self.dataset, self.norm, samples, self.first, how]
        return f"audits/{self.audit}/minimal/norm={self.norm}/part-{digest(canonical(content))[:16]}.parquet"

    @property
    def note_key(self) -> str:
        """The store's key of what has to be said about how it was computed; mostly there is nothing."""
        return self.key.replace("/minimal/", "/notes/").replace(".parquet", ".txt")

    def done(self, store: Store) -> bool:
        """Whether it was computed."""
        return store.exists(self.key)

    def run(self, root: str) -> float:
        """Compute and write it unless it is there; returns the seconds spent."""
        store = Store(root)
        if self.done(store):
            return 0.0
        started = time.monotonic()
        detector = model_folder.loaded(root, self.model, self.device)
        notes: list[str] = []
        with one_thread():
            parts = halving(lambda a, b: search(self, detector, a, b), len(self.images), notes.append)
        if notes:
            store.write(self.note_key, "\n".join(notes).encode())
        store.write(self.key, parquet.dump(pa.concat_tables(parts)))
        return time.monotonic() - started


def works(
    budgets: Mapping[Norm, Sequence[float]],
    slices: Sequence[tuple[int, Images]],
    *,
    audit: str,
    model: str,
    dataset: str,
    threshold: float,
    seed: int,
    device: str = "cpu",
) -> list[Minimal]:
    """The works for every slice at the budgets (norm -> rising epsilons) of the norms that Auto-PGD knows."""
    return [
        Minimal(audit, model, dataset, norm, tuple(epsilons), threshold, images, first, seed, device)
        for norm, epsilons in budgets.items()
        if norm in apgd.NORMS
        for first, images in slices
    ]


def search(work: Minimal, detector: nn.Module, first: int = 0, last: int | None = None) -> pa.Table:
    """MINIMAL of the samples first to last of the slice, by default all."""
    images = take(work.images, range(first, len(work.images) if last is None else last))
    began = time.monotonic()
    found = _Search(work, detector, images, first)
    found.climb()
    for _ in range(work.halvings):
        found.halve()
    seconds = (time.monotonic() - began) / len(images)
    fixed = {
        "model": work.model,
        "dataset": work.dataset,
        "norm": work.norm,
        "threshold": work.threshold,
        "largest": work.epsilons[-1],
        "seconds": seconds,
        "seed": work.seed,
    }
    rows = [
        {
            **fixed,
            "sample": images.ids[i],
            "sample_hash": images.hashes[i],
            "label": int(images.labels[i]),
            "defect": images.defects[i],
            "clean_score": float(found.clean_scores[i]),
            "clean_correct": bool(found.correct[i]),
            "epsilon": float(found.broken[i]),
            "forwards": int(found.forwards[i]),
            "backwards": int(found.backwards[i]),
        }
        for i in range(len(images))
    ]
    return pa.Table.from_pylist(rows, schema=MINIMAL)


class _Search:
    """For every sample the epsilon that is known to hold, the one that is known to break it, and an image to go on."""

    def __init__(self, work: Minimal, detector: nn.Module, images: Images, first: int) -> None:
        self.work, self.detector = work, detector
        self.clean = pixels(images, 0, len(images), work.device)
        self.direction = torch.from_numpy(1 - 2 * images.labels).to(work.device)
        self.clean_scores = scored(detector, self.clean, "clean")
        seed = np.random.SeedSequence([work.seed, work.first + first, int(digest(work.label.encode())[:8], 16)])
        self.generator = torch.Generator(work.device).manual_seed(int(seed.generate_state(1)[0]))
        self.correct = ~self._turned(self.clean_scores, self.direction)
        self.holds = torch.zeros(len(images), dtype=torch.float64, device=work.device)
        self.broken = torch.where(self.correct, math.inf, self.holds)
        self.best = self.clean.clone()  # at `broken` where that is known, else at `holds`
        self.forwards = torch.ones_like(self.direction)
        self.backwards = torch.zeros_like(self.direction)

    def climb(self) -> None:
        """Up the epsilons, those still undecided alone."""
        for epsilon in self.work.epsilons:
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
        threat = ThreatModel(self.work.norm, epsilon, self.work.threshold)
        clean, direction = self.clean[at], self.direction[at]
        start = project(self.best[at], clean, threat)
        found = apgd.apgd(self.detector, clean, direction, threat, self.generator, start=start, steps=self.work.steps)
        turned = self._turned(scored(self.detector, found.images, "attacked"), direction)
        self.forwards[at] += found.forwards + 1
        self.backwards[at] += found.backwards
        self.broken[at] = self.broken[at].where(~turned, epsilon)
        self.holds[at] = self.holds[at].where(turned, epsilon)
        keep = turned | self.broken[at].isinf()
        self.best[at[keep]] = found.images[keep]

    def _turned(self, scores: Tensor, direction: Tensor) -> Tensor:
        """Whether the decision is the wrong one; flagged means score > threshold."""
        return (scores.double() > self.work.threshold) == (direction > 0)
