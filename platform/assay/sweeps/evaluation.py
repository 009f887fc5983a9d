"""The measurements of a trial: clean and robust AUROC on the validation split, at an epsilon fixed for the sweep.

Never at the trial's own training epsilon: a search could otherwise win by choosing epsilon 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from assay import shelves
from assay.config.search_space import Evaluation
from assay.contracts import Images, ThreatModel
from assay.data.random_streams import streams_of
from assay.metrics import detection
from assay.models.scoring import batches, clean_scores, pixels, take

if TYPE_CHECKING:
    from numpy.typing import NDArray
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
        attacked = attack(detector, pixels(images, first, last, device), direction, threat, random, **arguments)
        parts.append(attacked.scores)
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
