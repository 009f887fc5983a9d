"""Normal against pseudo-anomaly as a two-class problem on one logit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Tensor, anomalous: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits (B,), higher is more anomalous, against labels (B,) of 0 and 1.

    Source: COBRA (ICLR 2025, L_CLS) with K = 2 classes.
    """
    return F.binary_cross_entropy_with_logits(logits, anomalous.to(torch.float32))
