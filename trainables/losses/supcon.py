"""SupCon: every row is pulled to all rows of its class, normals to normals and pseudo-anomalies to each other."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from assay.units import Positive
from trainables.losses._pairs import attraction


def supcon(
    embeddings: Tensor, *, views: int, temperature: Positive = 0.5, over_positives: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Mean over rows of the mean (or the sum) of -log p_ij over all other rows of the same class.

    embeddings: (views * 2N, D) unit rows, ordered as in `_pairs`. Returns a scalar >= 0.
    Source: supervised contrastive learning (Khosla et al. 2020, L_out, equation 2) with two classes.
    """
    return attraction(embeddings, views, temperature, "class", over_positives)
