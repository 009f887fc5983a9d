"""One of several ways for every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._paste import Draw, paste_into, replaced, unchanged

AT_ONCE = 4
"""Images that are turned or moved whole at a time: so few stay in a processor's cache."""


def one_of(images: Tensor, chosen: Tensor, ways: Sequence[Callable[[Tensor], PseudoAnomalies]]) -> PseudoAnomalies:
    """Every image changed by the way of its number: `ways[chosen[b]]`, called once with all the images it is for."""
    changed = torch.empty_like(images)
    mask = torch.empty_like(images[:, :1], dtype=torch.bool)
    for number, way in enumerate(ways):
        [those] = (chosen == number).nonzero(as_tuple=True)
        if len(those):
            changed[those], mask[those] = way(images[those])
    return PseudoAnomalies(changed, mask)


def one_whole_of(images: Tensor, chosen: Tensor, ways: Sequence[Callable[[Tensor], Tensor]]) -> PseudoAnomalies:
    """As `one_of`, of ways that make images (K, C, H, W) of images, each by itself and without a draw."""
    changed = torch.empty_like(images)
    for number, way in enumerate(ways):
        [those] = (chosen == number).nonzero(as_tuple=True)
        for some in those.split(AT_ONCE):  # type: ignore[no-untyped-call]
            changed[some] = way(images[some])
    return replaced(images, changed)


def one_paste_of(images: Tensor, chosen: Tensor, draws: Sequence[Callable[[Tensor], Draw]]) -> PseudoAnomalies:
    """As `one_of`, of pastes: each is given the numbers (K,) of the images it is for, so that none is copied twice."""
    made = unchanged(images)
    for number, draw in enumerate(draws):
        [those] = (chosen == number).nonzero(as_tuple=True)
        if len(those):
            paste_into(made, draw(those), those)
    return made
