"""Opposite pairs: a normal is pushed away from the pseudo-anomaly made from it, up to a margin."""

from __future__ import annotations

from torch import Tensor

from assay.units import Positive
from trainables.losses._pairs import log_probabilities, opposite_pairs


def opposite(embeddings: Tensor, *, views: int, temperature: Positive = 0.5, margin: Positive = 8.0) -> Tensor:
    """Mean over opposite pairs of max(0, log p_ij + margin): 0 once p_ij has fallen to exp(-margin).

    embeddings: (views * 2N, D) unit rows, ordered as `_pairs` says. Returns a scalar >= 0.
    Source: COBRA (ICLR 2025, L_COBRA). The released form has no margin and is held only by 1e-8 inside its log; an
    explicit one keeps a single pair from outweighing the rest of the loss.
    """
    pairs = opposite_pairs(views, len(embeddings) // (2 * views), embeddings.device)
    return (log_probabilities(embeddings, temperature)[pairs] + margin).clamp(min=0).mean()
