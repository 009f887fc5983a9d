"""Draw again where a draw changed nothing: a black patch pasted on black would be a normal image called anomalous."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies

TRIES = 8
VISIBLE = 1 / 255
"""A change of less than one grey level at every pixel does not survive 8 bits."""


def redraw(images: Tensor, draw: Callable[[], PseudoAnomalies]) -> PseudoAnomalies:
    """The first of up to 8 draws per image that changes some pixel by a grey level, else the last one.

    Every try draws for the whole batch, so an image's result does not depend on its neighbours' luck.
    """
    result = draw()
    for _ in range(TRIES - 1):
        unchanged = (result.images - images).abs().flatten(1).amax(1) < VISIBLE
        if not unchanged.any():
            break
        again = draw()
        chosen = unchanged[:, None, None, None]
        result = PseudoAnomalies(
            torch.where(chosen, again.images, result.images), torch.where(chosen, again.mask, result.mask)
        )
    return result
