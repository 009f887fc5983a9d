"""The patch of an image that is farthest from a bank, found without comparing every patch with every row.

A part of the bank gives every patch a distance that is right or too large. The patches with the largest are compared
with the whole bank; only those that the part leaves farther away than the farthest of these can still be farther, and
they alone are compared with the whole bank, too. The result is that of the whole search.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2**24
"""Most distances held in memory at a time."""
PART = 4
"""One row of so many is compared with every patch."""
FIRST = 32
"""Patches of an image that are compared with the whole bank first."""
LEAST = 1024
"""Rows of a bank below which all are compared at once."""


@torch.no_grad()
def farthest_patch(patches: Tensor, bank: Tensor) -> Tensor:
    """Index (B,) of the patch of (B, P, F) whose nearest row of the bank (M, F) is farthest; equal up to rounding."""
    halves = torch.linalg.vector_norm(bank, dim=1).square() / 2
    if len(bank) < LEAST or torch.compiler.is_exporting():  # a program has no sizes that depend on values
        return _squares(patches.flatten(0, 1), bank, halves).view(patches.shape[:2]).argmax(dim=1)
    bounds = _squares(patches.flatten(0, 1), bank[::PART], halves[::PART]).view(patches.shape[:2])
    first = bounds.topk(min(FIRST, bounds.shape[1]), dim=1).indices
    rows = patches.gather(1, first[:, :, None].expand(-1, -1, patches.shape[2])).flatten(0, 1)
    squares = torch.full_like(bounds, -torch.inf).scatter_(1, first, _squares(rows, bank, halves).view(first.shape))
    rest = (bounds > squares.amax(dim=1, keepdim=True)).scatter_(1, first, False)
    squares[rest] = _squares(patches[rest], bank, halves)
    return squares.argmax(dim=1)


@torch.no_grad()
def nearest_squares(patches: Tensor, bank: Tensor) -> Tensor:
    """Squared distances (B, P) of patches (B, P, F) to the nearest row of the bank (M, F), at least 0."""
    halves = torch.linalg.vector_norm(bank, dim=1).square() / 2
    return _squares(patches.flatten(0, 1), bank, halves).view(patches.shape[:2]).clamp(min=0)


def _squares(rows: Tensor, bank: Tensor, halves: Tensor) -> Tensor:
    """Squared distances (N,) of rows (N, F) to the nearest row of the bank, accurate enough for comparisons.

    halves: half the squared lengths (M,) of the bank's rows.
    """
    whole = torch.compiler.is_exporting()  # the number of blocks would be that of one batch size
    blocks = [rows] if whole else torch.split(rows, max(1, BLOCK // len(bank)))
    least = torch.cat([torch.addmm(halves, block, bank.T, alpha=-1).amin(dim=1) for block in blocks])
    return rows.square().sum(dim=1) + 2 * least
