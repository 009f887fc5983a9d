"""NT-Xent over all views: every image is pulled to its own other views and away from everything else."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from assay.units import Positive
from trainables.losses._pairs import attraction


def nt_xent(
    embeddings: Tensor, *, views: int, temperature: Positive = 0.5, over_positives: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Mean over rows of the mean (or the sum) of -log p_ij over the other views of a row's image.

    embeddings: (views * 2N, D) unit rows, ordered as in `_pairs`. Returns a scalar >= 0.
    over_positives: with two views there is one positive per row and both are the same; COBRA sums over more.
    Source: NT-Xent (Chen et al. 2020, section 2.1) with more than two views, as in COBRA (ICLR 2025, L_con).
    """
    return attraction(embeddings, views, temperature, "image", over_positives)
