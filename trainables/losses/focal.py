"""Focal loss: cross-entropy in which rows that are already right count less."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from assay.units import NonNegative, Positive

OF = "logits"


def focal(logits: Tensor, anomalous: Tensor, *, gamma: NonNegative = 2.0, alpha: Positive = 1.0) -> Tensor:
    """Mean of alpha * (1 - p)^gamma * -log p, p the chance given to the right label.

    logits: (B,), higher is more anomalous; anomalous: (B,) of 0 and 1. gamma: 0 is plain cross-entropy.
    Source: Lin et al. 2017, section 3.2; gamma 2 and alpha 1 are what the image version of DevNet ships.
    """
    nll = F.binary_cross_entropy_with_logits(logits, anomalous.to(logits.dtype), reduction="none")
    # 1 - p as -expm1(log p): a power of a rounded 0 would have no gradient where gamma is below 1.
    wrong = -(-nll).expm1()
    return (alpha * wrong.clamp(min=1e-12) ** gamma * nll).mean()
