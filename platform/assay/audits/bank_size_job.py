"""What a smaller neighbour bank would do: AUROC, AUROC under attack, time.

Only for a detector that can (`contracts.Banked`). The attack is one short PGD at the headline budget, so
sizes can be compared with each other; the audit's own attacks decide what the detector is worth.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.attacks import pgd
from assay.audits.job import Job
from assay.contracts import Banked, Images, Norm, ThreatModel
from assay.data.random_streams import streams_of
from assay.data.reduced import take
from assay.metrics import detection, groups
from assay.models.scoring import batches, pixels, score
from assay.store.schemas import BANK_SCORES, BANK_SIZE

if TYPE_CHECKING:
    from torch import Tensor, nn

REPEATS = 5
"""How often a batch is scored to see how long it takes."""


@dataclass(frozen=True, kw_only=True)
class BankSizeJob(Job):
    """BANK_SCORES of one size, on some images of each class.

    share: of the deployed bank's rows to keep. norm, epsilon: of the attack. steps: 0 where there is no gradient to
    attack by.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ("bank",)

    share: float
    norm: Norm
    epsilon: float
    steps: int

    @property
    def label(self) -> str:
        """`bank-` and the share of the rows that are kept."""
        return f"bank-{self.share:g}"

    @property
    def settings(self) -> list[Any]:
        """The share and the attack."""
        return [self.share, self.norm, self.epsilon, self.steps]

    def compute(self, images: Images, detector: nn.Module, *others: nn.Module) -> tuple[pa.Table, ...]:
        """BANK_SCORES."""
        smaller = cast(Banked, detector).with_bank(self.share).eval()
        clean, attacked = [], []
        for first, last in batches(images):
            batch = pixels(images, first, last, self.device)
            clean.append(score(smaller, batch).cpu().numpy())
            attacked.append(self._attacked(take(images, range(first, last)), smaller, batch))
        seconds = _seconds(smaller, pixels(images, *batches(images)[0], self.device))
        columns = {
            "share": self.share,
            "rows": cast(Banked, smaller).bank_rows(),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "clean_score": np.concatenate(clean),
            "adversarial_score": np.concatenate(attacked),
            **dict(zip(("seconds_25", "seconds_50", "seconds_75"), np.percentile(seconds, [25, 50, 75]), strict=True)),
        }
        return (self.table(images, BANK_SCORES, columns),)

    def _attacked(self, images: Images, detector: nn.Module, clean: Tensor) -> Any:
        """The scores (B,) of a batch after the attack, NaN where none can be made; all sizes have one random start."""
        import torch

        if not self.steps:
            return np.full(len(clean), np.nan)
        direction = torch.from_numpy(1 - 2 * images.labels).to(self.device)
        random = streams_of(images, self.seed, "bank", self.device)
        threat = ThreatModel(self.norm, self.epsilon)
        attacked = pgd.pgd(detector, clean, direction, threat, random, steps=self.steps)
        return score(detector, attacked.images, "attacked").cpu().numpy()


def _seconds(detector: nn.Module, images: Tensor) -> list[float]:
    """Seconds to score one image, several times over; `cpu` waits until the device is done."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        score(detector, images).cpu()
        seconds.append((time.perf_counter() - began) / len(images))
    return seconds


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
            auroc = (
                nothing
                if np.isnan(scores).any()
                else detection.figures(labels, scores, threshold=threshold, groups=groups.named(part))["auroc"]
            )
            row |= dict(zip((f"{name}_auroc", f"{name}_lower", f"{name}_upper"), auroc, strict=True))
        normals, anomalies = int((labels == 0).sum()), int((labels == 1).sum())
        rows.append({**row, "confidence": 0.95, "normals": normals, "anomalies": anomalies})
    return pa.Table.from_pylist(rows, schema=BANK_SIZE)
