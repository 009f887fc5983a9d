"""Nearest rows of a bank, searched in blocks, so that a large bank needs little memory, even under autograd."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 8192
"""Rows of the bank searched together."""
QUERIES = 4096
"""Rows queried together when a whole bank is compared with itself."""


def nearest(rows: Tensor, bank: Tensor, k: int, *, offset: float = 1.0) -> Tensor:
    """Mean (B,) of the k smallest distances, offset - <row, bank row>, of rows (B, D) to a bank (M, D).

    Differentiable; a bank of more than one block is searched without gradients first, so that only the chosen rows are
    part of the graph.
    """
    if len(bank) <= BLOCK:
        return _smallest(offset - rows @ bank.T, k).mean(dim=1)
    with torch.no_grad():
        chosen = _search(rows, bank, k)
    return (offset - (bank[chosen] * rows[:, None]).sum(dim=2)).mean(dim=1)


@torch.no_grad()
def nearest_others(rows: Tensor, kept: Tensor, k: int) -> Tensor:
    """Mean distance (N,) of all rows (N, D) to the bank `rows[kept]`, none of them counted as its own neighbour.

    In a bank of one row, that row counts as its own neighbour, as there is no other.
    """
    bank = rows[kept]
    place = torch.full((len(rows),), -1, device=rows.device)
    if len(bank) > 1:
        place[kept] = torch.arange(len(bank), device=rows.device)
        k = min(k, len(bank) - 1)
    parts = zip(torch.split(rows, QUERIES), torch.split(place, QUERIES), strict=True)
    return torch.cat([_others(part, bank, k, own) for part, own in parts])


def _others(rows: Tensor, bank: Tensor, k: int, own: Tensor) -> Tensor:
    best = rows.new_empty(len(rows), 0)
    for first in range(0, len(bank), BLOCK):
        distances = 1 - rows @ bank[first : first + BLOCK].T
        column = own - first
        inside = ((column >= 0) & (column < distances.shape[1])).nonzero().squeeze(1)
        distances[inside, column[inside]] = torch.inf
        best = _smallest(torch.cat([best, _smallest(distances, k)], dim=1), k)
    return best.mean(dim=1)


def _search(rows: Tensor, bank: Tensor, k: int) -> Tensor:
    """Indices (B, k) of the bank's rows with the largest product."""
    best, index = rows.new_empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.long, device=rows.device)
    for first in range(0, len(bank), BLOCK):
        block = bank[first : first + BLOCK]
        values, place = (rows @ block.T).topk(min(k, len(block)), dim=1)
        values, place = torch.cat([best, values], dim=1), torch.cat([index, place + first], dim=1)
        best, order = values.topk(min(k, values.shape[1]), dim=1)
        index = place.gather(1, order)
    return index


def _smallest(distances: Tensor, k: int) -> Tensor:
    return distances.topk(min(k, distances.shape[1]), dim=1, largest=False).values
