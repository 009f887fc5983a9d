"""Changes of the whole image: each image is changed in one of several ways, or replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._visible import differ


def one_of(images: Tensor, chosen: Tensor, ways: Sequence[Callable[[Tensor], Tensor]]) -> PseudoAnomalies:
    """Every image (B, C, H, W) changed by `ways[chosen[b]]`, each of which maps some images to as many."""
    changed = torch.empty_like(images, memory_format=torch.contiguous_format)
    for number, way in enumerate(ways):
        [those] = (chosen == number).nonzero(as_tuple=True)
        changed[those] = way(images[those])
    return replaced(images, changed)


def replaced(images: Tensor, changed: Tensor) -> PseudoAnomalies:
    """The changed images with masks all True; one that looks the same stays as it was, and its mask is empty."""
    seen = differ(changed, images)[:, None, None, None]
    if not seen.all():
        changed = torch.where(seen, changed, images)
    return PseudoAnomalies(changed, seen.expand(-1, 1, *images.shape[2:]).contiguous())
