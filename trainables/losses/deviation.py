"""Deviation loss: normal scores near the mean of a Gaussian prior, anomalous ones at least a margin above it."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.units import Positive, Real

OF = "logits"


def deviation(
    scores: Tensor,
    anomalous: Tensor,
    *,
    margin: Positive = 5.0,
    prior_mean: Real = 0.0,
    prior_deviation: Positive = 1.0,
) -> Tensor:
    """Mean of |d| for normals and max(0, margin - d) for anomalies, d = (score - prior mean) / prior deviation.

    The published code estimates the two moments of the prior N(0, 1) from 5,000 draws per step, a needless error of
    1.4 % in d; here they are exact.
    Source: DevNet (Pang et al. 2019, equations 4 to 6).
    """
    d = (scores - prior_mean) / prior_deviation
    return torch.where(anomalous > 0, (margin - d).clamp(min=0), d.abs()).mean()
