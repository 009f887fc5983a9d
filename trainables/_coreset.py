"""A coreset: a few rows of a bank, chosen so that no other row is far from all of them."""

from __future__ import annotations

import torch
from torch import Tensor

ALL = 1.0


def kept(rows: Tensor, bank: float, seed: int = 0) -> Tensor:
    """Indices (M,) of the rows (N, D) to keep, ascending: all for `bank` 1, else a share (below 1) or a number.

    Greedy k-centre: a seeded first row, then always the row farthest from those chosen. The largest distance left is at
    most twice the optimum for that many rows (Gonzalez 1985; for anomaly banks PatchCore, Roth et al. 2022, 3.2).
    """
    total = len(rows)
    count = min(total, max(1, round(bank * total) if bank <= ALL else round(bank)))
    if count == total:
        return torch.arange(total, device=rows.device)
    at = first_row(total, seed)
    chosen = torch.empty(count, dtype=torch.long, device=rows.device)
    squares = rows.square().sum(1)
    distance = torch.full((total,), torch.inf, device=rows.device)
    for place in range(count):
        chosen[place] = at
        distance = torch.minimum(distance, squares - 2 * (rows @ rows[at]) + squares[at])
        distance[at] = -1  # among equal rows, none is chosen twice
        at = int(distance.argmax())
    return chosen.sort().values


def first_row(total: int, seed: int) -> int:
    """The row of `total` with which a coreset begins, drawn by the seed."""
    return int(torch.randint(total, (), generator=torch.Generator().manual_seed(seed)))


def projected(rows: Tensor, dimensions: int, seed: int) -> Tensor:
    """Rows (N, D) in random directions, (N, dimensions): distances change little (Johnson and Lindenstrauss 1984).

    Returns the rows themselves if `dimensions` is 0 or not below D.
    """
    if not 0 < dimensions < rows.shape[1]:
        return rows
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(rows.shape[1], dimensions, generator=generator) / dimensions**0.5
    nearby: Tensor = rows @ directions.to(rows)
    return nearby
