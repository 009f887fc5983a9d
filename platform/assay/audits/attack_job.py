"""One attack of a suite, at all its epsilons, on a slice of the samples; its images go to the deployed file as well."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.audits.job import Job
from assay.contracts import Images, Norm, ThreatModel
from assay.data.images import png
from assay.data.random_streams import streams_of
from assay.metrics.worst_case import worst_first
from assay.models import deployed_file
from assay.models.scoring import pixels, score
from assay.norm_balls import size, to_8_bit
from assay.shelves import Item
from assay.store import schemas
from assay.store.audit_reader import SuiteEntry

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN_PER_JOB = 3
"""How many samples of a job are candidates for the pictures of the worst samples."""


@dataclass(frozen=True, kw_only=True)
class AttackJob(Job):
    """SCORES of one attack, and WORST: candidates for the pictures of the worst samples; DEPLOYED where it is replayed.

    entry, parameters: an entry of the suite and its hash. headline: the (norm, epsilon) whose worst samples are kept as
    pictures. threshold: the detector's. surrogate: the hash of another model in the store, for an attack that needs it.
    stochastic: whether the score is random, and is drawn once more for every image found. replayed: whether the model's
    folder holds the file that is deployed, which then scores the images found.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ("scores", "candidates")

    entry: SuiteEntry
    parameters: str
    headline: tuple[str, float]
    threshold: float
    surrogate: str | None = None
    stochastic: bool = False
    replayed: bool = False

    @property
    def label(self) -> str:
        """The name of the suite's entry."""
        return self.entry["name"]

    @property
    def settings(self) -> list[Any]:
        """The entry, the threshold, the surrogate and whether the score is random."""
        return [dict(self.entry), self.threshold, self.surrogate, self.stochastic]

    @property
    def models(self) -> tuple[str, ...]:
        """The audited model, and the surrogate where there is one."""
        return (self.model, self.surrogate) if self.surrogate else (self.model,)

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its tables go; the deployed file's have a folder of their own."""
        return (*self.FOLDERS, "deployed") if self.replayed else self.FOLDERS

    def detectors(self, root: str) -> list[nn.Module]:
        """The audited detector, the surrogate where there is one, and last the deployed file."""
        deployed = [deployed_file.loaded(root, self.model, self.device)] if self.replayed else []
        return [*super().detectors(root), *deployed]

    def compute(self, images: Images, detector: nn.Module, *others: nn.Module) -> tuple[pa.Table, ...]:
        """SCORES, WORST and DEPLOYED; each epsilon begins at the images found at the one before."""
        import torch

        entry = self.entry
        item = Item("attacks", entry["attack"], entry["parameters"])
        deployed = others[-1] if self.replayed else None
        arguments = item.arguments() | ({"surrogate": others[0]} if self.surrogate else {})
        clean = pixels(images, 0, len(images), self.device)
        direction = torch.from_numpy(1 - 2 * images.labels).to(self.device)
        clean_scores = score(detector, clean)
        deployed_clean = score(deployed, clean, "clean (as deployed)") if deployed is not None else clean_scores
        random = streams_of(images, self.seed, self.label, self.device)
        scores, worst, replayed, start = [], [], [], None
        for epsilon in entry["epsilons"]:
            threat = ThreatModel(entry["norm"], epsilon, self.threshold)
            began = time.monotonic()
            result = item.function(detector, clean, direction, threat, random, start=start, **arguments)
            seconds = (time.monotonic() - began) / len(images)
            start = result.images
            rounded = to_8_bit(result.images, clean, threat)
            # Scored again here: an attack's own report of success is not evidence.
            reached = score(detector, result.images, self.label)
            measured = {
                "clean_score": clean_scores,
                "adversarial_score": reached,
                "rounded_score": score(detector, rounded, self.label),
                "selection_score": score(detector, result.images, self.label) if self.stochastic else reached,
                "linf": distance(result.images, clean, "linf"),
                "l2": distance(result.images, clean, "l2"),
                "l1": distance(result.images, clean, "l1"),
                "patch": covering_square(result.images, clean),
                "forwards": result.forwards,
                "backwards": result.backwards,
                "broken_at": torch.full_like(result.forwards, -1) if result.broken_at is None else result.broken_at,
                "direction": direction,
            }
            columns = {
                **{name: value.cpu().numpy() for name, value in measured.items()},
                "attack": self.label,
                "parameters": self.parameters,
                "norm": entry["norm"],
                "epsilon": epsilon,
                "regime": np.where(images.labels == 1, "evasion", "false_alarm"),
                "seconds": seconds,
            }
            table = self.table(images, schemas.SCORES, columns)
            scores.append(table)
            if deployed is not None:
                what = f"{self.label} (as deployed)"
                scored = {
                    "audited_clean_score": clean_scores,
                    "audited_score": reached,
                    "clean_score": deployed_clean,
                    "adversarial_score": score(deployed, result.images, what),
                    "rounded_score": score(deployed, rounded, what),
                }
                columns |= {name: value.cpu().numpy() for name, value in scored.items()}
                replayed.append(self.table(images, schemas.DEPLOYED, columns))
            if (entry["norm"], epsilon) == tuple(self.headline) and entry["knowledge"] != "none":
                worst.append(worst_samples(table, self.threshold, clean, rounded))
        made = pa.concat_tables(scores), pa.concat_tables([schemas.WORST.empty_table(), *worst])
        return (*made, pa.concat_tables(replayed)) if self.replayed else made


def distance(images: Tensor, clean: Tensor, norm: Norm) -> Tensor:
    """(B,) how far each image lies from its clean one; infinite for one that left [0, 1], as it is no image."""
    inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
    return size(images - clean, norm).masked_fill(~inside, float("inf"))


def covering_square(images: Tensor, clean: Tensor) -> Tensor:
    """(B,) share of the image's area of the smallest square around everything that differs from the clean image."""
    changed = (images != clean).any(dim=1)
    side = _extent(changed.any(dim=2)).maximum(_extent(changed.any(dim=1)))
    return side.double() ** 2 / changed[0].numel()


def _extent(changed: Tensor) -> Tensor:
    """(B,) how many places lie from the first to the last that is True in (B, N)."""
    behind, ahead = changed.int().cumsum(1), changed.int().flip(1).cumsum(1).flip(1)
    return ((behind > 0) & (ahead > 0)).sum(1)


def worst_samples(scores: pa.Table, threshold: float, clean: Tensor, rounded: Tensor) -> pa.Table:
    """WORST of a slice: the samples an attacker gained most on, with pictures as an 8-bit file would hold them."""
    label, before, after = (scores[name].to_numpy() for name in ("label", "clean_score", "adversarial_score"))
    order = worst_first(label, before, after, threshold)[:SHOWN_PER_JOB]
    table = scores.append_column("shift", pa.array(scores["direction"].to_numpy() * (after - before))).take(order)
    for name, images in (("clean_png", clean), ("adversarial_png", rounded)):
        table = table.append_column(name, pa.array([_png(images[i]) for i in map(int, order)], pa.binary()))
    return table.select(schemas.WORST.names).cast(schemas.WORST)


def _png(image: Tensor) -> bytes:
    return png((image.cpu().numpy() * 255).round().astype(np.uint8))
