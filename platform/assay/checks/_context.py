"""What every check looks at, the row it returns, and the few samples that its own attacks are made on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.contracts import Images
from assay.evaluation import BATCH, clean_scores, pixels, some_of_each, take
from assay.suite import Suite

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

SAME = 1e-3
"""Of the standard deviation of the clean scores: how far arithmetic may move a score."""


@dataclass(frozen=True)
class Context:
    """What the checks look at: the audited detector, its test images, and the scores and metrics of the audit."""

    detector: nn.Module
    images: Images
    suite: Suite
    scores: Mapping[str, NDArray[Any]]  # the columns of SCORES
    metrics: Mapping[str, NDArray[Any]]  # the columns of METRICS
    device: str = "cpu"


def row(check: str, passed: bool, evidence: str, value: float, limit: float, samples: int) -> dict[str, Any]:
    """A row of tables.CHECKS of a check that an audit cannot be valid without."""
    return {
        "check": check,
        "passed": bool(passed),
        "required": True,
        "evidence": evidence,
        "value": float(value),
        "limit": float(limit),
        "samples": int(samples),
    }


def chosen(context: Context) -> NDArray[np.int64]:
    """The samples that the attacks of the checks are made on, as many of each class as the suite says."""
    return some_of_each(context.images.labels, min(context.suite.unbounded.samples, BATCH // 2))


def attackable(context: Context) -> tuple[Tensor, Tensor, torch.Generator]:
    """Images, direction and generator for an attack of a check."""
    import torch

    images = take(context.images, chosen(context))
    direction = torch.from_numpy(1 - 2 * images.labels).to(context.device)
    generator = torch.Generator(context.device).manual_seed(0)
    return pixels(images, 0, len(images), context.device), direction, generator


def scored(context: Context, images: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        scores: Tensor = context.detector(images)
    return scores


def spread(context: Context) -> float:
    """The standard deviation of the clean scores."""
    return float(clean_scores(context.detector, context.images, context.device).std())
