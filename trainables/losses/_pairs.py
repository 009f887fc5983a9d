"""Which rows of a contrastive batch are positive, opposite or negative pairs; the single definition.

A batch holds V views of N normals and of their N pseudo-anomalies, one embedding per row, ordered by view, and within a
view first the normals, then the pseudo-anomalies of the same normals in the same order.
"""

from __future__ import annotations

import functools
from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

Same = Literal["image", "class"]
"""What makes two rows positive: another view of the same image (NT-Xent), or any row of the same class (SupCon)."""


class Pair(IntEnum):
    """The relation of two rows; every pair except a row with itself is also in the denominator."""

    ITSELF = 0
    NEGATIVE = 1
    POSITIVE = 2
    OPPOSITE = 3


def pair_matrix(
    views: int,
    normals: int,
    *,
    same: Same = "image",
    opposite_views: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """(R, R) uint8 of `Pair`, R = views * 2 * normals.

    Opposite pairs are a normal and its own pseudo-anomaly within one view; if `opposite_views` is given, only within
    the first so many views (COBRA's figure has none in the adversarial view).
    """
    rows = torch.arange(views * 2 * normals, device=device)
    view, image = rows // (2 * normals), rows % (2 * normals)
    kind = image if same == "image" else image >= normals  # the image, or whether it is a pseudo-anomaly
    paired = view < (views if opposite_views is None else opposite_views)

    matrix = torch.full((len(rows), len(rows)), Pair.NEGATIVE, dtype=torch.uint8, device=device)
    matrix[kind[:, None] == kind] = Pair.POSITIVE
    one_view = (view[:, None] == view) & paired
    matrix[one_view & ((image[:, None] - image).abs() == normals)] = Pair.OPPOSITE
    matrix.fill_diagonal_(Pair.ITSELF)
    return matrix


@functools.lru_cache(maxsize=32)
def places(
    pair: Pair,
    views: int,
    normals: int,
    *,
    same: Same = "image",
    opposite_views: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """(K,) int64, not to be changed: where such pairs are in a flattened (R, R), row by row.

    Kept, as a GPU would be waited for to count them at every step of an attack.
    """
    matrix = pair_matrix(views, normals, same=same, opposite_views=opposite_views, device=device)
    return (matrix == pair).flatten().nonzero().squeeze(1)


def log_probabilities(embeddings: Tensor, temperature: float) -> Tensor:
    """log p_ij of row i choosing row j among all others: (R, D) unit rows -> (R, R); the diagonal is -inf.

    p_ij = exp(z_i z_j / t) / sum over l != i of exp(z_i z_l / t) (COBRA, loss definition; NT-Xent, Chen et al. 2020).
    """
    similarity = embeddings @ embeddings.T / temperature
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    return similarity.masked_fill(itself, -torch.inf).log_softmax(dim=1)


def attraction(embeddings: Tensor, views: int, temperature: float, same: Same, over_positives: str) -> Tensor:
    """Mean over rows of the mean (or the sum) of -log p_ij over the positives of a row; a scalar >= 0."""
    at = places(Pair.POSITIVE, views, len(embeddings) // (2 * views), same=same, device=embeddings.device)
    log_p = log_probabilities(embeddings, temperature)
    positive = -log_p.flatten()[at].view(len(embeddings), -1)  # every row has equally many
    if not positive.numel():  # one view of one normal: no positive pairs
        return embeddings.sum() * 0
    return (positive.mean(dim=1) if over_positives == "mean" else positive.sum(dim=1)).mean()
