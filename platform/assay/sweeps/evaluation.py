"""What a trial is measured by: clean and robust AUROC on the validation split, at a budget fixed for the sweep.

The budget never is the trial's own training budget: a search could otherwise win by choosing epsilon 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay import shelves
from assay.contracts import Images, ThreatModel
from assay.errors import DivergedError
from assay.metrics import detection
from assay.runtime.out_of_memory import halving

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

BATCH = 64
OWN_KEYS = frozenset({"attack", "norm", "epsilon", "every", "false_alarm_rate"})
"""Keys of `evaluation:` that are not parameters of its attack."""


def pixels(images: Images, first: int, last: int, device: str = "cpu") -> Tensor:
    """Images first to last as floats (B, C, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(np.array(images.pixels[first:last])).to(device).float().div_(255)


def batches(images: Images, size: int = BATCH) -> list[tuple[int, int]]:
    """(first, last) of every batch, in order."""
    return [(first, min(first + size, len(images))) for first in range(0, len(images), size)]


def take(images: Images, chosen: Sequence[int] | NDArray[np.int64]) -> Images:
    """Some of the images, their pixels copied to memory so that they can be sent to a worker."""
    at = np.asarray(chosen, dtype=np.int64)
    return Images(
        np.array(images.pixels[at]),
        np.array(images.labels[at]),
        tuple(images.ids[i] for i in at),
        tuple(images.defects[i] for i in at),
        tuple(images.hashes[i] for i in at),
    )


def some_of_each(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The indices, rising, of up to `count` samples of each class, spread evenly over it.

    Evenly, because a dataset is sorted by defect kind or by origin: its first samples are no sample of it.
    """
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    chosen = [of[np.arange(n) * len(of) // n] for of in classes if (n := min(count, len(of)))]
    return np.sort(np.concatenate(chosen))


def clean_scores(detector: nn.Module, images: Images, device: str = "cpu") -> NDArray[np.float64]:
    """Scores (N,) of clean images, higher is more anomalous; raises DivergedError where one is not finite."""
    import torch

    parts: list[Tensor] = []

    def score(first: int, last: int) -> Tensor:
        found: Tensor = detector(pixels(images, first, last, device))
        return found

    with torch.no_grad():
        for start, end in batches(images):
            parts += halving(lambda a, b: score(start + a, start + b), end - start)  # noqa: B023 - called at once
    scores: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
    if broken := int((~np.isfinite(scores)).sum()):
        raise DivergedError(f"the score is not finite (NaN or infinite) for {broken} of {len(scores)} images")
    return scores


def attacked_scores(
    detector: nn.Module, images: Images, evaluation: Mapping[str, Any], seed: int, device: str = "cpu"
) -> NDArray[np.float64]:
    """Scores (N,) after the evaluation's attack: normals raised, anomalies lowered."""
    import torch

    attack = shelves.load("attacks", str(evaluation["attack"]))
    arguments = shelves.bind(attack, {k: v for k, v in evaluation.items() if k not in OWN_KEYS})
    threat = ThreatModel(evaluation["norm"], float(evaluation["epsilon"]))
    generator = torch.Generator(device).manual_seed(seed)
    parts = []
    for first, last in batches(images):
        direction = torch.from_numpy(1 - 2 * images.labels[first:last]).to(device)
        found = attack(detector, pixels(images, first, last, device), direction, threat, generator, **arguments)
        parts.append(found.scores)
    scores: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
    return scores


def evaluate(
    detector: nn.Module, images: Images, evaluation: Mapping[str, Any], seed: int, device: str = "cpu"
) -> dict[str, float]:
    """clean_auroc and robust_auroc of a detector on a split with both classes."""
    clean = clean_scores(detector, images, device)
    attacked = attacked_scores(detector, images, evaluation, seed, device)
    return {
        "clean_auroc": detection.auroc(images.labels, clean),
        "robust_auroc": detection.auroc(images.labels, attacked),
    }


def threshold(detector: nn.Module, images: Images, rate: float, device: str = "cpu") -> dict[str, Any]:
    """The score above which an image is flagged, so that at most `rate` of the split's clean normals are.

    images: a split whose normals (label 0) the detector was not trained on.
    """
    normals = images.labels == 0
    scores = clean_scores(detector, images, device)[normals]
    value = float(np.quantile(scores, 1 - rate, method="higher"))
    return {"value": value, "false_alarm_rate": rate, "source": "validation normals", "count": int(normals.sum())}
