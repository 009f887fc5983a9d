"""The measurements of a trial: clean, robust and certified AUROC on the validation split, at the epsilon of the sweep.

Never at the trial's own training epsilon: a search could otherwise win by choosing epsilon 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay import shelves
from assay.config.search_space import Evaluation
from assay.contracts import Images, ThreatModel
from assay.data.random_streams import streams_of
from assay.data.reduced import take
from assay.metrics import detection, groups
from assay.metrics.intervals import newcombe
from assay.models import certificates
from assay.models.scoring import batches, clean_scores, pixels
from assay.runtime.float32 import exact_float32
from assay.runtime.out_of_memory import in_halves_if_out_of_memory

CONFIDENCE = 0.999
"""That all bounds of a detector with randomness hold."""

if TYPE_CHECKING:
    from torch import Tensor, nn


def attacked_scores(
    detector: nn.Module, images: Images, evaluation: Mapping[str, Any], seed: int, device: str = "cpu"
) -> NDArray[np.float64]:
    """Scores (N,) after the evaluation's attack: normals raised, anomalies lowered.

    seed: of the sweep, not of the trial: all trials get the same random starts, so their figures can be paired.
    """
    import torch

    attack = shelves.load("attacks", str(evaluation["attack"]))
    arguments = shelves.bind(attack, {k: v for k, v in evaluation.items() if k not in Evaluation.model_fields})
    threat = ThreatModel(evaluation["norm"], float(evaluation["epsilon"]))

    def part(start: int, first: int, last: int) -> Tensor:
        some = take(images, range(start + first, start + last))
        direction = torch.from_numpy(1 - 2 * some.labels).to(device)
        random = streams_of(some, seed, "evaluation", device)
        clean = pixels(some, 0, len(some), device)
        found: Tensor = attack(detector, clean, direction, threat, random, **arguments).scores
        return found

    with exact_float32():
        parts = _in_batches(part, images)
    scores: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
    return scores


class Measured(NamedTuple):
    """The figures of a detector on a split by name, and the scores (N,) they are of."""

    figures: dict[str, float]
    clean: NDArray[np.float64]
    attacked: NDArray[np.float64]


def evaluate(
    detector: nn.Module,
    images: Images,
    evaluation: Mapping[str, Any],
    seed: int,
    device: str = "cpu",
    objectives: Collection[str] = (),
) -> Measured:
    """clean_auroc and robust_auroc of a detector on a split with both classes, and certified_auroc if asked for."""
    clean = clean_scores(detector, images, device)
    attacked = attacked_scores(detector, images, evaluation, seed, device)
    figures = {
        "clean_auroc": detection.auroc(images.labels, clean),
        "robust_auroc": detection.auroc(images.labels, attacked),
    }
    if "certified_auroc" in objectives:
        figures["certified_auroc"] = certified_auroc(detector, images, evaluation, seed, device)
    return Measured(figures, clean, attacked)


def intervals(figures: Mapping[str, float], images: Images) -> dict[str, list[float]]:
    """95 % bounds of each AUROC among the figures; images of a group count as one."""
    labels = np.asarray(images.labels)
    normals, anomalies = int((labels == 0).sum()), int((labels == 1).sum())
    worth = groups.worth(normals, anomalies, groups.of(labels, images.group_names))
    return {
        name: list(newcombe(value, *worth.paired, 0.95)) for name, value in figures.items() if name.endswith("auroc")
    }


def certified_auroc(
    detector: nn.Module, images: Images, evaluation: Mapping[str, Any], seed: int, device: str = "cpu"
) -> float:
    """The AUROC below which no attack within the evaluation's ball can go; 0 where nothing is proven in its norm.

    Every anomaly counts with the lower bound of its score, every normal with the upper one; of bounds that hold with a
    probability, all hold at once with that of CONFIDENCE.
    """
    import torch

    norm, epsilon = evaluation["norm"], float(evaluation["epsilon"])
    if norm not in certificates.norms(detector):
        return 0.0
    radii = torch.tensor([epsilon], dtype=torch.float64, device=device)

    def part(start: int, first: int, last: int) -> Tensor:
        some = take(images, range(start + first, start + last))
        random = streams_of(some, seed, "certified", device)
        share = (1 - CONFIDENCE) * len(some) / len(images)
        lower, upper = certificates.bounds(detector, pixels(some, 0, len(some), device), norm, radii, random, 1 - share)
        return torch.where(torch.from_numpy(some.labels == 1).to(device), lower[:, 0], upper[:, 0])

    with exact_float32():
        parts = _in_batches(part, images)
    return detection.auroc(images.labels, torch.cat(parts).double().cpu().numpy())


def _in_batches(part: Callable[[int, int, int], Tensor], images: Images) -> list[Tensor]:
    """The results of `part(start, first, last)` for the images start + first to start + last, batch by batch."""
    return [
        result
        for start, end in batches(images)
        for result in in_halves_if_out_of_memory(functools.partial(part, start), end - start)
    ]
