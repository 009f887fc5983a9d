"""TRADES: the loss of a clean image, and how far the attack moves the answer, weighed against each other."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from assay.units import NonNegative
from trainables.losses.classification import classification


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """Mean KL divergence of the answer (B,) logits to an attacked image from that to the clean one; >= 0.

    This is also what the attack of TRADES raises.
    """
    logs = F.logsigmoid(clean) - F.logsigmoid(attacked), F.logsigmoid(-clean) - F.logsigmoid(-attacked)
    return (clean.sigmoid() * logs[0] + (-clean).sigmoid() * logs[1]).mean()


def trades(clean: Tensor, attacked: Tensor, anomalous: Tensor, *, robust_weight: NonNegative = 6.0) -> Tensor:
    """Cross-entropy of clean logits (B,) against labels (B,), plus `robust_weight` times the divergence.

    Source: TRADES (Zhang et al. 2019, equation 5); its 1 / lambda is `robust_weight`, 6 in its experiments.
    """
    return classification(clean, anomalous) + robust_weight * divergence(clean, attacked)
