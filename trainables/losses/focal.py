"""Focal loss: cross-entropy with less weight on rows that are already classified correctly."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from assay.units import NonNegative, Positive

OF = "logits"


def focal(logits: Tensor, anomalous: Tensor, *, gamma: NonNegative = 2.0, alpha: Positive = 1.0) -> Tensor:
    """Mean of alpha * (1 - p)^gamma * -log p, with p the probability of the true label.

    logits: (B,), higher is more anomalous; anomalous: (B,) of 0 and 1. gamma: 0 is plain cross-entropy.
    Source: Lin et al. 2017, section 3.2; the image version of DevNet uses gamma 2 and alpha 1.
    """
    nll = F.binary_cross_entropy_with_logits(logits, anomalous.to(logits.dtype), reduction="none")
    # 1 - p as -expm1(log p): a power of a rounded 0 has no gradient if gamma is below 1.
    wrong = -(-nll).expm1()
    return (alpha * wrong.clamp(min=1e-12) ** gamma * nll).mean()
