"""One corruption, at all its severities, on a slice of the test images.

No attacker chooses a corruption: it is random, so every image has one draw of it, the same in each severity.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from assay import shelves
from assay.audits.job import Job
from assay.contracts import Images
from assay.data.random_streams import streams_of
from assay.errors import DataError
from assay.models.scoring import pixels, score
from assay.store.schemas import CORRUPTED

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class CorruptionJob(Job):
    """CORRUPTED of one corruption of the shelf, or of the user's own as `module:attribute`."""

    FOLDERS: ClassVar[tuple[str, ...]] = ("corrupted",)

    corruption: str
    severities: tuple[int, ...]

    @property
    def label(self) -> str:
        """The corruption's name."""
        return self.corruption

    @property
    def settings(self) -> list[Any]:
        """The severities."""
        return [list(self.severities)]

    def compute(self, images: Images, detector: nn.Module, *others: nn.Module) -> tuple[pa.Table, ...]:
        """CORRUPTED; raises DataError where the corruption returns anything but images in [0, 1]."""
        function = shelves.load("corruptions", self.corruption)
        clean = pixels(images, 0, len(images), self.device)
        clean_scores = score(detector, clean).cpu().numpy()
        parts = []
        for severity in self.severities:
            began = time.monotonic()
            # Always from the start: severities differ in strength, not in their draws.
            random = streams_of(images, self.seed, self.corruption, self.device)
            corrupted = _as_stored(function(clean, severity, random), clean, self.corruption)
            scores = score(detector, corrupted, f"{self.corruption} {severity}").cpu().numpy()
            columns = {
                "corruption": self.corruption,
                "severity": severity,
                "clean_score": clean_scores,
                "score": scores,
                "seconds": (time.monotonic() - began) / len(images),
            }
            parts.append(self.table(images, CORRUPTED, columns))
        return (pa.concat_tables(parts),)


def _as_stored(images: Tensor, clean: Tensor, corruption: str) -> Tensor:
    """The images as a file of 8 bits would hold them, as it holds the clean ones."""
    if images.shape != clean.shape or not bool(((images >= 0) & (images <= 1)).all()):
        raise DataError(
            f"corruption '{corruption}' must give images {tuple(clean.shape)} in [0, 1]; it gave {tuple(images.shape)} "
            f"from {images.min():.3g} to {images.max():.3g}"
        )
    return (images * 255).round() / 255
