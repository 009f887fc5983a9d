"""Which rows of a contrastive batch belong together: the one place that says positive, opposite and negative.

A batch holds V views of N normals and of their N pseudo-anomalies, one embedding a row, ordered view by view and
within a view first the normals, then the pseudo-anomalies of the same normals in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def log_probabilities(embeddings: Tensor, temperature: float) -> Tensor:
    """log p_ij of row i choosing row j among all others: (R, D) unit rows -> (R, R); the diagonal is -inf.

    p_ij = exp(z_i z_j / t) / sum over l != i of exp(z_i z_l / t) (COBRA, loss definition; NT-Xent, Chen et al. 2020).
    """
    similarity = embeddings @ embeddings.T / temperature
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    return similarity.masked_fill(itself, -torch.inf).log_softmax(dim=1)


def positive_pairs(views: int, normals: int, device: torch.device | None = None) -> Tensor:
    """(R, R) bool, R = views * 2 * normals: the same image in another view."""
    rows = torch.arange(views * 2 * normals, device=device)
    same_image = rows[:, None] % (2 * normals) == rows[None, :] % (2 * normals)
    return same_image & (rows[:, None] != rows[None, :])


def opposite_pairs(views: int, normals: int, device: torch.device | None = None) -> Tensor:
    """(R, R) bool: a normal and its own pseudo-anomaly inside the same view, in both directions."""
    rows = torch.arange(views * 2 * normals, device=device)
    view, image = rows // (2 * normals), rows % (2 * normals)
    same_view = view[:, None] == view[None, :]
    return same_view & ((image[:, None] - image[None, :]).abs() == normals)
