"""Whether an exported file gives the detector's scores and decisions, on images as they are on disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.data.images import open_image, pixels_of, resized
from assay.deploy.score_files import reading_of
from assay.errors import DataError, ModelError
from assay.models.model_folder import Model
from assay.models.scoring import SAME

BATCH = 4
"""Most images of one size that the file gets together."""

UNITS = 16
"""Of float32's precision: how far sums in another order move a score, however little the scores vary."""

Reader = Callable[[NDArray[np.uint8]], list[NDArray[Any]]]


@dataclass(frozen=True)
class Reference:
    """The detector's scores (N,) of image files, decoded and resized as in an audit.

    tolerance: how far a file's score may be from it, a share of their deviation that rounding stays below.
    """

    paths: tuple[Path, ...]
    scores: NDArray[np.float64]
    channels: int
    bit_depth: int | None = None

    @property
    def deviation(self) -> float:
        """Of the scores; 1 where they are all equal."""
        return float(self.scores.std()) or 1.0

    @property
    def tolerance(self) -> float:
        """The largest difference that is taken for rounding: of the deviation, or of float32 where all are alike."""
        return max(SAME * self.deviation, UNITS * float(np.finfo(np.float32).eps * np.abs(self.scores).max()))


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    images: their number. sizes: how many different sizes they have. tolerance, largest_difference: in score, and in
    deviations of the detector's scores. decisions_differ: how many decisions do. at_threshold: those among them whose
    score is within the tolerance of the threshold, where rounding decides.
    """

    images: int
    sizes: int
    tolerance: float
    largest_difference: float
    difference_in_deviations: float
    decisions_differ: int
    at_threshold: int

    @property
    def equal(self) -> bool:
        """Whether the file is the detector, up to rounding."""
        return self.largest_difference <= self.tolerance and self.decisions_differ == self.at_threshold


def reference(model: Model, paths: Sequence[Path]) -> Reference:
    """Score image files by the detector itself; raises DataError for a file that cannot be decoded."""
    import torch

    channels, size = model.manifest["channels"], model.manifest["image_size"]
    _, bit_depth = reading_of(model.manifest)
    scores: list[float] = []
    for first in range(0, len(paths), BATCH):
        some = [open_image(path, bit_depth) for path in paths[first : first + BATCH]]
        part = [resized(image, size=size, channels=channels) for image in some]
        with torch.no_grad():
            scores += model.detector(torch.from_numpy(np.stack(part)).float().div_(255)).double().tolist()
    if not np.isfinite(scores).all():
        raise DataError("the detector's score is not finite for some of the images; it cannot be compared")
    return Reference(tuple(paths), np.array(scores), channels, bit_depth)


def compare(read: Reader, expected: Reference, threshold: float) -> Parity:
    """Give the file the same images at their own size; threshold: the detector's.

    Raises ModelError where the file fails, or returns other shapes.
    """
    scores: list[float] = []
    decisions: list[bool] = []
    sizes = set()
    for images in _native(expected):
        sizes.add(images.shape[2:])
        try:
            score, decision, *_ = read(images)
        except Exception as error:  # whatever the runtime raises
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"the exported file fails on images {images.shape}: {reason}") from error
        if score.shape != (len(images),) or decision.shape != (len(images),):
            raise ModelError(f"the exported file returns {score.shape} for {len(images)} images")
        scores += score.tolist()
        decisions += decision.tolist()
    differences = np.abs(np.array(scores) - expected.scores)
    differ = np.array(decisions) != (expected.scores > threshold)
    near = np.abs(expected.scores - threshold) <= expected.tolerance
    largest = float(differences.max()) if np.isfinite(differences).all() else float("inf")
    return Parity(
        len(scores),
        len(sizes),
        expected.tolerance,
        largest,
        largest / expected.deviation,
        int(differ.sum()),
        int((differ & near).sum()),
    )


def _native(expected: Reference) -> Iterator[NDArray[np.uint8]]:
    """The images uint8 (B, C, H, W) at their own size, in order; neighbours of one size together."""
    arrays = (pixels_of(open_image(path, expected.bit_depth), expected.channels) for path in expected.paths)
    for _, group in itertools.groupby(arrays, key=lambda array: array.shape):
        while batch := list(itertools.islice(group, BATCH)):
            yield np.stack(batch)
