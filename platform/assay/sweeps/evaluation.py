"""The measurements of a trial: clean and robust AUROC on the validation split, at an epsilon fixed for the sweep.

Never at the trial's own training epsilon: a search could otherwise win by choosing epsilon 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay import shelves
from assay.config.search_space import Evaluation
from assay.contracts import Images, ThreatModel
from assay.data.random_streams import streams_of
from assay.metrics import detection, groups
from assay.metrics.intervals import newcombe
from assay.models.scoring import batches, clean_scores, pixels, take
from assay.runtime.float32 import exact_float32

if TYPE_CHECKING:
    from torch import nn


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
    parts = []
    for first, last in batches(images):
        direction = torch.from_numpy(1 - 2 * images.labels[first:last]).to(device)
        random = streams_of(take(images, range(first, last)), seed, "evaluation", device)
        with exact_float32():
            attacked = attack(detector, pixels(images, first, last, device), direction, threat, random, **arguments)
        parts.append(attacked.scores)
    scores: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
    return scores


class Measured(NamedTuple):
    """The figures of a detector on a split by name, and the scores (N,) they are of."""

    figures: dict[str, float]
    clean: NDArray[np.float64]
    attacked: NDArray[np.float64]


def evaluate(
    detector: nn.Module, images: Images, evaluation: Mapping[str, Any], seed: int, device: str = "cpu"
) -> Measured:
    """clean_auroc and robust_auroc of a detector on a split with both classes."""
    clean = clean_scores(detector, images, device)
    attacked = attacked_scores(detector, images, evaluation, seed, device)
    figures = {
        "clean_auroc": detection.auroc(images.labels, clean),
        "robust_auroc": detection.auroc(images.labels, attacked),
    }
    return Measured(figures, clean, attacked)


def intervals(figures: Mapping[str, float], images: Images) -> dict[str, list[float]]:
    """95 % bounds of each AUROC among the figures; images of a group count as one."""
    labels = np.asarray(images.labels)
    normals, anomalies = int((labels == 0).sum()), int((labels == 1).sum())
    worth = groups.worth(normals, anomalies, groups.of(labels, images.group_names))
    return {
        name: list(newcombe(value, *worth.paired, 0.95)) for name, value in figures.items() if name.endswith("auroc")
    }
