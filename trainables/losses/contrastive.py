"""NT-Xent over all views: every image is drawn to its own other views and away from everything else."""

from __future__ import annotations

from torch import Tensor

from assay.units import Positive
from trainables.losses._pairs import log_probabilities, positive_pairs


def contrastive(embeddings: Tensor, *, views: int, temperature: Positive = 0.5) -> Tensor:
    """Mean over rows of the mean of -log p_ij over the positives of a row.

    embeddings: (views * 2N, D) unit rows, ordered as `_pairs` says. Returns a scalar >= 0.
    Source: NT-Xent (Chen et al. 2020, section 2.1) with more than two views, as in COBRA (ICLR 2025, L_con).
    """
    positives = positive_pairs(views, len(embeddings) // (2 * views), embeddings.device)
    log_p = log_probabilities(embeddings, temperature)
    return -log_p[positives].view(len(embeddings), -1).mean(dim=1).mean()
