"""Opposite pairs: a normal is pushed away from the pseudo-anomaly made from it, up to a margin."""

from __future__ import annotations

from torch import Tensor

from assay.units import Positive
from trainables.losses._pairs import Pair, log_probabilities, places

TINY = 1e-8
"""Added to p inside the logarithm by the released code; it alone bounds its term, at 18.4 per pair."""


def opposite(
    embeddings: Tensor,
    *,
    views: int,
    temperature: Positive = 0.5,
    margin: Positive = 8.0,
    as_released: bool = False,
    opposite_views: int | None = None,
) -> Tensor:
    """Mean over rows of max(0, log p_ij + margin), j the row's opposite: 0 once p_ij has fallen to exp(-margin).

    embeddings: (views * 2N, D) unit rows, ordered as in `_pairs`. Returns a scalar, >= 0 with a margin.
    as_released: log(p_ij + 1e-8) without a margin, which is below 0. opposite_views: rows of later views have no
    opposite and count as 0 in the mean.
    Source: COBRA (ICLR 2025, L_COBRA). An explicit margin keeps a single pair from dominating the loss; the released
    form keeps pushing until rounding stops it.
    """
    normals = len(embeddings) // (2 * views)
    at = places(Pair.OPPOSITE, views, normals, opposite_views=opposite_views, device=embeddings.device)
    log_p = log_probabilities(embeddings, temperature).flatten()[at]
    pushed = (log_p.exp() + TINY).log() if as_released else (log_p + margin).clamp(min=0)
    return pushed.sum() / len(embeddings)
