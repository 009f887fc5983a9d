"""Turns decoded images into tensors and scores them; non-finite scores are refused."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from assay.contracts import Images
from assay.errors import AssayError, DataError, DivergedError
from assay.runtime.float32 import exact_float32
from assay.runtime.out_of_memory import in_halves_if_out_of_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

BATCH = 64
VALUES = 3 * 512 * 512
"""Pixels times channels of an image above which fewer are taken at a time, as an attack holds several copies of all."""
SAME = 1e-3
"""How far rounding may move a score, as a share of the standard deviation of the clean scores."""


class Threshold(TypedDict):
    """The score above which an image is flagged, as in a manifest.

    false_alarm_rate: the share of the `count` normals of the source that may be flagged, or that are. also_trained_on:
    how many of these the detector may have been trained on, where that is known.
    """

    value: float
    false_alarm_rate: float
    source: str
    count: int
    also_trained_on: NotRequired[int]


def pixels(images: Images, first: int, last: int, device: str = "cpu") -> Tensor:
    """Images first to last as floats (B, C, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(np.array(images.pixels[first:last])).to(device).float().div_(255)


def batch_size(images: Images, most: int = BATCH) -> int:
    """How many of the images are worked on at a time: `most`, or fewer where they are large."""
    return max(1, min(most, most * VALUES // max(1, math.prod(images.pixels.shape[1:]))))


def batches(images: Images, most: int = BATCH) -> list[tuple[int, int]]:
    """(first, last) of every batch, in order."""
    size = batch_size(images, most)
    return [(first, min(first + size, len(images))) for first in range(0, len(images), size)]


def some_of_each(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The indices, in order, of up to `count` samples of each class, spread evenly over it.

    Datasets are sorted by defect kind or by origin, so the first samples would not be representative.
    """
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    chosen = [of[np.arange(n) * len(of) // n] for of in classes if (n := min(count, len(of)))]
    return np.sort(np.concatenate(chosen))


def score(detector: Callable[[Tensor], Tensor], images: Tensor, what: str = "clean") -> Tensor:
    """The detector's scores (B,) float32 of images (B, C, H, W), without a gradient.

    what: names these images in the message. Raises DataError if a score is not finite.
    """
    import torch

    with torch.no_grad(), exact_float32():
        scores: Tensor = detector(images).float()
    _refuse_non_finite(scores, f"{what} images; a detector can only be audited if its score is finite", DataError)
    return scores


def clean_scores(
    detector: Callable[[Tensor], Tensor],
    images: Images,
    device: str = "cpu",
    error: type[AssayError] = DivergedError,
) -> NDArray[np.float64]:
    """Scores (N,) of clean images, higher is more anomalous; raises `error` if one is not finite."""
    import torch

    def part(start: int, first: int, last: int) -> Tensor:
        return detector(pixels(images, start + first, start + last, device))

    with torch.no_grad(), exact_float32():
        parts = [
            scores
            for start, end in batches(images)
            for scores in in_halves_if_out_of_memory(functools.partial(part, start), end - start)
        ]
    joined = torch.cat(parts)
    _refuse_non_finite(joined, "images", error)
    scores: NDArray[np.float64] = joined.double().cpu().numpy()
    return scores


def _refuse_non_finite(scores: Tensor, what: str, error: type[AssayError]) -> None:
    if broken := int((~scores.isfinite()).sum()):
        raise error(f"the detector's score is not finite (NaN or infinite) for {broken} of {len(scores)} {what}")


def normal_scores(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> list[float]:
    """The scores of the normals among scores (N,) with labels (N,), ascending, for a manifest: p-values need them."""
    return [float(score) for score in np.sort(scores[labels == 0])]


def threshold_of(labels: NDArray[np.int64], scores: NDArray[np.float64], rate: float) -> Threshold:
    """The score above which an image is flagged, chosen so that at most `rate` of the clean normals are.

    scores: (N,) of a split whose normals (label 0) the detector was not trained on.
    """
    normals = labels == 0
    value = float(np.quantile(scores[normals], 1 - rate, method="higher"))
    return {"value": value, "false_alarm_rate": rate, "source": "validation normals", "count": int(normals.sum())}
