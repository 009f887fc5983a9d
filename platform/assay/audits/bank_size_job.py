"""The work of an audit that asks what a smaller neighbour bank would do: AUROC, AUROC under attack, time. Needs no Ray.

Only a detector that says so (`contracts.Banked`) can be asked. The attack is one short PGD at the headline budget, for
sizes to be compared with each other; the audit's own attacks decide what the detector is worth.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.attacks import pgd
from assay.audits.attack_job import scored
from assay.audits.job import written
from assay.contracts import Banked, Images, Norm, ThreatModel
from assay.hashing import canonical, digest
from assay.metrics import detection
from assay.models import model_folder
from assay.store import parquet
from assay.store.schemas import BANK_SCORES, BANK_SIZE
from assay.store.store import Store
from assay.sweeps.evaluation import batches, pixels

if TYPE_CHECKING:
    from torch import Tensor, nn

REPEATS = 5
"""How often a batch is scored to see how long it takes."""


@dataclass(frozen=True)
class BankSize:
    """What a worker is told, in plain values.

    share: of the deployed bank's rows to keep. norm, epsilon: of the attack. steps: 0 where there is no gradient to
    attack by. images: some of each class.
    """

    audit: str
    model: str
    dataset: str
    share: float
    norm: Norm
    epsilon: float
    steps: int
    images: Images
    seed: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        """What progress calls it."""
        return f"bank-{100 * self.share:g}%"

    @functools.cached_property
    def key(self) -> str:
        """The store's key of the scores."""
        samples = [list(self.images.ids), list(self.images.hashes), self.images.labels.tolist()]
        how = [self.share, self.norm, self.epsilon, self.steps, self.seed]
        part = digest(canonical([self.model, self.dataset, samples, how]))[:16]
        return f"audits/{self.audit}/bank/share={self.share:g}/part-{part}.parquet"

    def done(self, store: Store) -> bool:
        """Whether the scores are there."""
        return store.exists(self.key)

    def run(self, root: str) -> float:
        """Compute and write the scores unless they are there; returns the seconds spent."""
        return written(
            self, root, lambda: score(self, cast(Banked, model_folder.loaded(root, self.model, self.device)))
        )


def works(
    detector: nn.Module,
    shares: Sequence[float],
    images: Images,
    *,
    audit: str,
    model: str,
    dataset: str,
    norm: Norm,
    epsilon: float,
    steps: int,
    seed: int,
    device: str = "cpu",
) -> list[BankSize]:
    """The works for every share of the bank, none for a detector without one."""
    if not hasattr(detector, "with_bank"):
        return []
    steps = steps if norm in pgd.NORMS else 0
    return [BankSize(audit, model, dataset, share, norm, epsilon, steps, images, seed, device) for share in shares]


def score(work: BankSize, detector: Banked) -> pa.Table:
    """BANK_SCORES of one size."""
    smaller, images = detector.with_bank(work.share).eval(), work.images
    clean, attacked = [], []
    for first, last in batches(images):
        batch = pixels(images, first, last, work.device)
        clean.append(scored(smaller, batch, "clean").cpu().numpy())
        attacked.append(_attacked(work, smaller, batch, first))
    quartiles = np.percentile(_seconds(smaller, pixels(images, *batches(images)[0], work.device)), [25, 50, 75])
    columns = {
        "model": work.model,
        "dataset": work.dataset,
        "sample": list(images.ids),
        "sample_hash": list(images.hashes),
        "label": images.labels,
        "defect": list(images.defects),
        "share": work.share,
        "rows": cast(Banked, smaller).bank_rows(),
        "norm": work.norm,
        "epsilon": work.epsilon,
        "clean_score": np.concatenate(clean),
        "adversarial_score": np.concatenate(attacked),
        **dict(zip(("seconds_25", "seconds_50", "seconds_75"), quartiles, strict=True)),
        "seed": work.seed,
    }
    return parquet.table(columns, BANK_SCORES)


def _attacked(work: BankSize, detector: nn.Module, clean: Tensor, first: int) -> Any:
    """The scores (B,) of a batch after the attack, NaN where none can be made; all sizes have one random start."""
    import torch

    if not work.steps:
        return np.full(len(clean), np.nan)
    labels = work.images.labels[first : first + len(clean)]
    direction = torch.from_numpy(1 - 2 * labels).to(work.device)
    seed = np.random.SeedSequence([work.seed, first])
    generator = torch.Generator(work.device).manual_seed(int(seed.generate_state(1)[0]))
    threat = ThreatModel(work.norm, work.epsilon)
    found = pgd.pgd(detector, clean, direction, threat, generator, steps=work.steps)
    return scored(detector, found.images, "attacked").cpu().numpy()


def _seconds(detector: nn.Module, images: Tensor) -> list[float]:
    """Seconds to score one image, several times over; `cpu` waits until the device is done."""
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        scored(detector, images, "clean").cpu()
        found.append((time.perf_counter() - began) / len(images))
    return found


def figures(parts: pa.Table, *, threshold: float) -> pa.Table:
    """BANK_SIZE of BANK_SCORES of all sizes, the smallest bank first."""
    rows = []
    for share in sorted(set(parts["share"].to_pylist())):
        part = parts.filter(pc.equal(parts["share"], share))
        labels = part["label"].to_numpy()
        row = {name: part[name][0].as_py() for name in BANK_SIZE.names if name in part.column_names}
        for name, column in (("clean", "clean_score"), ("robust", "adversarial_score")):
            scores = part[column].to_numpy()
            nothing = (float("nan"),) * 3
            found = (
                nothing if np.isnan(scores).any() else detection.figures(labels, scores, threshold=threshold)["auroc"]
            )
            row |= dict(zip((f"{name}_auroc", f"{name}_lower", f"{name}_upper"), found, strict=True))
        normals, anomalies = int((labels == 0).sum()), int((labels == 1).sum())
        rows.append({**row, "confidence": 0.95, "normals": normals, "anomalies": anomalies})
    return pa.Table.from_pylist(rows, schema=BANK_SIZE)
