"""Normal against pseudo-anomaly as a classification problem."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.units import Positive

OF = "logits"


def classification(logits: Tensor, anomalous: Tensor, *, anomaly_weight: Positive = 1.0) -> Tensor:
    """Mean cross-entropy against labels (B,) of 0 and 1.

    logits: (B,), higher is more anomalous, for the binary form; (B, K) for K classes with labels below K.
    anomaly_weight: weight of anomalous rows (above 0) relative to normal ones; the mean is over all rows.
    Source: COBRA (ICLR 2025, L_CLS) with K = 2 classes, whose difference is the single logit.
    """
    if logits.ndim == 2:
        each = F.cross_entropy(logits, anomalous.long(), reduction="none")
        return (each * torch.where(anomalous > 0, anomaly_weight, 1.0)).mean()
    labels = anomalous.to(logits.dtype)
    weight = torch.where(anomalous > 0, anomaly_weight, 1.0) if anomaly_weight != 1 else None
    return F.binary_cross_entropy_with_logits(logits, labels, weight)
