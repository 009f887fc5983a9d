"""A detector's bank of normals, which an audit may make smaller."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from trainables._coreset import kept


class Banked(nn.Module):
    """The methods of `assay.contracts` for a detector whose only bank is the buffer `bank`, (N, F)."""

    bank: Tensor

    def bank_rows(self) -> int:
        """The number of rows of the bank."""
        return len(self.bank)

    def with_bank(self, share: float) -> nn.Module:
        """A copy with a coreset of the bank, `share` of its rows."""
        smaller = copy.deepcopy(self)
        smaller.bank = self.bank[kept(self.bank, share)]
        return smaller
