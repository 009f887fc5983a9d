"""COBRA's contrastive loss: views of an image are pulled together, opposite pairs are pushed apart."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from assay.units import NonNegative, Positive
from trainables.losses.nt_xent import nt_xent
from trainables.losses.opposite import opposite
from trainables.losses.supcon import supcon

ATTRACTION = {"nt_xent": nt_xent, "supcon": supcon}


def cobra(
    embeddings: Tensor,
    *,
    views: int,
    attraction: Literal["nt_xent", "supcon"] = "nt_xent",
    contrastive_weight: NonNegative = 1.0,
    opposite_weight: NonNegative = 1.0,
    temperature: Positive = 0.5,
    margin: Positive = 8.0,
    as_released: bool = False,
    opposite_views: int | None = None,
    over_positives: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """The weighted sum of `attraction` and `opposite`; a scalar.

    embeddings: (views * 2N, D) unit rows, ordered as in `_pairs`. The other parameters are those of the two terms.
    Source: COBRA (ICLR 2025, L_COBRA); with `over_positives: sum`, `as_released` and both weights 1, it is the branch
    of the released code that its training never switches on.
    """
    drawn = ATTRACTION[attraction](embeddings, views=views, temperature=temperature, over_positives=over_positives)
    pushed = opposite(
        embeddings,
        views=views,
        temperature=temperature,
        margin=margin,
        as_released=as_released,
        opposite_views=opposite_views,
    )
    return contrastive_weight * drawn + opposite_weight * pushed
