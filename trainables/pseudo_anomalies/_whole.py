"""Images changed as a whole, each in one of several ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._paste import replaced
from trainables.pseudo_anomalies._processor import run, usable


def one_whole_of(
    images: Tensor,
    chosen: Tensor,
    ways: Sequence[Callable[[Tensor], Tensor]],
    kernel: Callable[[], Callable[..., Any]],
) -> PseudoAnomalies:
    """Every image changed by the way of its number: `ways[chosen[b]]`, which makes images of images (K, C, H, W).

    kernel: imports what does the same, compiled: kernel(first, step, changed, images, chosen).
    """
    images = images.contiguous()
    changed = torch.empty_like(images)
    if usable(images):
        run(kernel(), changed, images, chosen)
    else:
        for number, way in enumerate(ways):
            [those] = (chosen == number).nonzero(as_tuple=True)
            changed[those] = way(images[those])
    return replaced(images, changed)
