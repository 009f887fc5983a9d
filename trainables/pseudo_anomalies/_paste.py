"""Paste values on some pixels of every image; draw again where that changed nothing anybody could see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._spots import Spots, places, read

TRIES = 8
VISIBLE = 1 / 255
"""A change of less than one grey level at every pixel does not survive 8 bits."""


Draw: TypeAlias = Callable[[], tuple[Spots, Tensor]]
"""Draws pixels and their new values (N, C)."""


def paste(images: Tensor, draw: Draw, tries: int = TRIES) -> PseudoAnomalies:
    """Images with the pixels that `draw` returns replaced by its values: of several draws the first seen.

    A black patch pasted on black would be a normal image called anomalous, so an image is drawn for until a pixel
    changes by a grey level. Where no draw does that, the image stays as it is and its mask is empty.
    """
    made = unchanged(images)
    paste_into(made, draw, tries=tries)
    return made


def unchanged(images: Tensor) -> PseudoAnomalies:
    """A copy of the images with empty masks."""
    return PseudoAnomalies(images.clone(), torch.zeros_like(images[:, :1], dtype=torch.bool))


def paste_into(made: PseudoAnomalies, draw: Draw, some: Tensor | None = None, tries: int = TRIES) -> None:
    """As `paste`, written into images that were made already; into some of them (K,), if given, which `draw` is for.

    Every try draws for all of them, so an image's result does not depend on its neighbours' luck.
    """
    images = made.images
    spots, values = draw()
    seen = _seen(images, spots, values)
    if some is not None:
        seen |= torch.ones_like(seen).index_fill(0, some, 0)
    for _ in range(tries - 1):
        if seen.all():
            break
        more, new = draw()
        keep, add = seen[spots.image], ~seen[more.image]
        joined = zip(spots.where(keep), more.where(add), strict=True)
        spots, values = Spots(*(torch.cat(pair) for pair in joined)), torch.cat([values[keep], new[add]])
        seen = seen | _seen(images, more, new)
    if not seen.all():
        keep = seen[spots.image]
        spots, values = spots.where(keep), values[keep]
    images.put_(places(images, spots), values.T)
    made.mask.put_(places(made.mask, spots)[0], torch.ones_like(spots.image, dtype=torch.bool))


def replaced(images: Tensor, changed: Tensor) -> PseudoAnomalies:
    """The changed images whole, with masks all True; one that looks as before stays as it was, its mask empty."""
    seen = _differ(changed[..., ::8, ::8], images[..., ::8, ::8])  # nearly always enough, and a 64th of the work
    if not seen.all():
        seen = _differ(changed, images)
        changed = torch.where(seen, changed, images)
    return PseudoAnomalies(changed, seen.expand(-1, 1, *images.shape[2:]).contiguous())


@torch.no_grad()
def _differ(first: Tensor, second: Tensor) -> Tensor:
    """Which of the images can be told apart: bool (B, 1, 1, 1)."""
    return (first - second).abs().amax((1, 2, 3), keepdim=True) >= VISIBLE


@torch.no_grad()
def _seen(images: Tensor, spots: Spots, values: Tensor) -> Tensor:
    """Which images (B,) would be seen to have changed."""
    change = (values - read(images, spots)).abs().amax(1)
    return torch.zeros_like(images[:, 0, 0, 0]).scatter_reduce(0, spots.image, change, "amax") >= VISIBLE
