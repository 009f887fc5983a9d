"""The work of an audit that proves, for one slice of the samples, how far their scores can be moved. Needs no Ray.

Only a detector that says so (`contracts.Certified`) can be asked; of any other there is nothing to do.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from assay.audits.job import written
from assay.contracts import Certified, Images, Norm
from assay.errors import DataError
from assay.hashing import canonical, digest
from assay.models import model_folder
from assay.store.schemas import CERTIFIED
from assay.store.store import Store
from assay.sweeps.evaluation import pixels

if TYPE_CHECKING:
    from torch import nn

CONFIDENCE = 0.999
"""Of all the bounds of an audit at once: what they may fail adds to what an interval of their figures may."""


@dataclass(frozen=True)
class Certifying:
    """What a worker is told, in plain values.

    radii: of the balls, in pixel scale. confidence: of all the bounds of the audit at once. among: how many images
    share what may fail: those of the audit, once for every norm. images: the slice, `first` the index of its first.
    """

    audit: str
    model: str
    dataset: str
    norm: Norm
    radii: tuple[float, ...]
    confidence: float
    among: int
    images: Images
    first: int
    seed: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        """What progress calls it."""
        return f"certified-{self.norm}"

    @functools.cached_property
    def key(self) -> str:
        """The store's key of the bounds."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        how = [list(self.radii), self.confidence, self.among, self.seed]
        content = [self.model, self.dataset, self.norm, samples, self.first, how]
        return f"audits/{self.audit}/certified/norm={self.norm}/part-{digest(canonical(content))[:16]}.parquet"

    def done(self, store: Store) -> bool:
        """Whether the bounds are there."""
        return store.exists(self.key)

    def run(self, root: str) -> float:
        """Compute and write the bounds unless they are there; returns the seconds spent."""
        return written(
            self, root, lambda: certify(self, cast(Certified, model_folder.loaded(root, self.model, self.device)))
        )


def works(
    detector: nn.Module,
    budgets: Mapping[Norm, Sequence[float]],
    slices: Sequence[tuple[int, Images]],
    *,
    audit: str,
    model: str,
    dataset: str,
    seed: int,
    confidence: float = CONFIDENCE,
    device: str = "cpu",
) -> list[Certifying]:
    """The works that certify every slice at the budgets (norm -> epsilons) that the detector can certify, if any.

    slices: (index of the first, images) of each. confidence: of all the bounds together.
    """
    radii = {norm: tuple(budgets[norm]) for norm in getattr(detector, "CERTIFIES", ()) if budgets.get(norm)}
    among = len(radii) * sum(len(images) for _, images in slices)
    return [
        Certifying(audit, model, dataset, norm, radii[norm], confidence, among, images, first, seed, device)
        for norm in radii
        for first, images in slices
    ]


def certify(work: Certifying, detector: Certified) -> pa.Table:
    """CERTIFIED of one slice; raises DataError where a bound is no number."""
    import torch

    images, radii = work.images, work.radii
    share = (1 - work.confidence) * len(images) / work.among
    seed = np.random.SeedSequence([work.seed, work.first, int(digest(work.label.encode())[:8], 16)])
    generator = torch.Generator(work.device).manual_seed(int(seed.generate_state(1)[0]))
    clean = pixels(images, 0, len(images), work.device)
    began = time.monotonic()
    lower, upper = detector.certify(
        clean, work.norm, torch.tensor(radii, dtype=torch.float64, device=work.device), generator, 1 - share
    )
    seconds = (time.monotonic() - began) / len(images)
    expected = (len(images), len(radii))
    if tuple(lower.shape) != expected or tuple(upper.shape) != expected or not bool((lower <= upper).all()):
        raise DataError(
            f"the detector's bounds of {len(images)} images at {len(radii)} radii must be two tensors {expected} with "
            f"lower <= upper; found {tuple(lower.shape)} and {tuple(upper.shape)}, some not in order or not a number"
        )
    fixed = {
        "model": work.model,
        "dataset": work.dataset,
        "norm": work.norm,
        "confidence": work.confidence,
        "seconds": seconds / len(radii),
        "seed": work.seed,
    }
    rows = [
        {
            **fixed,
            "sample": images.ids[i],
            "sample_hash": images.hashes[i],
            "label": int(images.labels[i]),
            "defect": images.defects[i],
            "radius": radius,
            "lower": float(lower[i, r]),
            "upper": float(upper[i, r]),
        }
        for r, radius in enumerate(radii)
        for i in range(len(images))
    ]
    return pa.Table.from_pylist(rows, schema=CERTIFIED)
