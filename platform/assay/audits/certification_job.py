"""How far the scores of a slice can be moved, proven by the detector itself.

Only for a detector that can (`contracts.Certified`), or whose score is monotone (`contracts.Monotone`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from assay.audits.job import Job
from assay.contracts import Images, Norm
from assay.data.random_streams import streams_of
from assay.errors import DataError
from assay.models import certificates
from assay.models.scoring import pixels
from assay.store.schemas import CERTIFIED

if TYPE_CHECKING:
    from torch import nn

CONFIDENCE = 0.999
"""Of all the bounds of an audit together; their chance of failing adds to that of the figures' intervals."""


@dataclass(frozen=True, kw_only=True)
class CertificationJob(Job):
    """CERTIFIED at every radius, in pixel scale.

    confidence: of all the bounds of the audit at once. among: how many images share the chance that a bound is wrong:
    those of the audit, once for every norm.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ("certified",)

    norm: Norm
    radii: tuple[float, ...]
    confidence: float
    among: int

    @property
    def label(self) -> str:
        """`certified-` and the norm."""
        return f"certified-{self.norm}"

    @property
    def settings(self) -> list[Any]:
        """The radii, the confidence, and how many images share it."""
        return [list(self.radii), self.confidence, self.among]

    def compute(self, images: Images, detector: nn.Module, *others: nn.Module) -> tuple[pa.Table, ...]:
        """CERTIFIED; raises DataError where a bound is not a number."""
        import torch

        share = (1 - self.confidence) * len(images) / self.among
        random = streams_of(images, self.seed, self.label, self.device)
        clean = pixels(images, 0, len(images), self.device)
        radii = torch.tensor(self.radii, dtype=torch.float64, device=self.device)
        began = time.monotonic()
        lower, upper = certificates.bounds(detector, clean, self.norm, radii, random, 1 - share)
        seconds = (time.monotonic() - began) / len(images)
        expected = (len(images), len(self.radii))
        if tuple(lower.shape) != expected or tuple(upper.shape) != expected or not bool((lower <= upper).all()):
            raise DataError(
                f"the detector's bounds of {len(images)} images at {len(self.radii)} radii must be two tensors "
                f"{expected} with lower <= upper; found {tuple(lower.shape)} and {tuple(upper.shape)}, some not in "
                "order or not a number"
            )
        columns = {
            "norm": self.norm,
            "confidence": self.confidence,
            "seconds": seconds / len(self.radii),
        }
        bounds = [
            {"radius": radius, "lower": lower[:, r].double().cpu().numpy(), "upper": upper[:, r].double().cpu().numpy()}
            for r, radius in enumerate(self.radii)
        ]
        return (pa.concat_tables(self.table(images, CERTIFIED, {**columns, **bound}) for bound in bounds),)
