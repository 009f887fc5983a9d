"""One of several ways for every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies


def one_of(images: Tensor, chosen: Tensor, ways: Sequence[Callable[[Tensor], PseudoAnomalies]]) -> PseudoAnomalies:
    """Every image changed by the way of its number: `ways[chosen[b]]`, called once with all the images it is for."""
    changed = torch.empty_like(images)
    mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
    for number, way in enumerate(ways):
        [those] = (chosen == number).nonzero(as_tuple=True)
        if len(those):
            made = way(images[those])
            changed[those], mask[those] = made
    return PseudoAnomalies(changed, mask)
