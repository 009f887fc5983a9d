"""TRADES: a trade-off between the loss of a clean image and how far an attack moves the output."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from assay.units import NonNegative
from trainables.losses.classification import classification


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """Mean KL divergence of the prediction (B,) logits on attacked images from that on the clean ones; >= 0.

    This is also the objective of the attack in TRADES.
    """
    logs = F.logsigmoid(clean) - F.logsigmoid(attacked), F.logsigmoid(-clean) - F.logsigmoid(-attacked)
    return (clean.sigmoid() * logs[0] + (-clean).sigmoid() * logs[1]).mean()


def trades(clean: Tensor, attacked: Tensor, anomalous: Tensor, *, robust_weight: NonNegative = 6.0) -> Tensor:
    """Cross-entropy of clean logits (B,) against labels (B,), plus `robust_weight` times the divergence.

    Source: TRADES (Zhang et al. 2019, equation 5); its 1 / lambda is `robust_weight`, 6 in its experiments.
    """
    return classification(clean, anomalous) + robust_weight * divergence(clean, attacked)
