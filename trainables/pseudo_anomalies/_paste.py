"""Paste something on a part of every image; draw again where that changed nothing anybody could see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._spots import Spots, places
from trainables.pseudo_anomalies._windows import Windows

TRIES = 8
VISIBLE = 1 / 255
"""A change of less than one grey level at every pixel does not survive 8 bits."""


class Change(Protocol):
    """New values for a part of some of the images."""

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """Write it into the waiting ones (B,) of the images that would be seen to change; which (B,) those are."""
        ...


Draw: TypeAlias = Callable[[], Change]


class Scattered(NamedTuple):
    """New values (N, C) for pixels anywhere."""

    spots: Spots
    values: Tensor

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        spots, values = self
        at = places(made.images, spots)
        with torch.no_grad():
            change = (values.T - made.images.take(at)).abs().amax(0)
            most = torch.full_like(made.images[:, 0, 0, 0], -1).scatter_reduce(0, spots.image, change, "amax")
            seen = waiting & (most >= VISIBLE)
        if (~seen & (most >= 0)).any():
            [keep] = seen[spots.image].nonzero(as_tuple=True)
            at, values, spots = at[:, keep], values[keep], spots.where(keep)
        made.images.put_(at, values.T)
        made.mask.put_(places(made.mask, spots)[0], torch.ones_like(spots.image, dtype=torch.bool))
        return seen


class Boxed(NamedTuple):
    """New values (K, C, height, width) for the boxes of windows, block by block; what is around them stays."""

    blocks: Iterable[tuple[Windows, Tensor]]

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        seen = torch.zeros_like(waiting)
        for windows, values in self.blocks:
            here, inside = windows.of(made.images), windows.inside
            changed = here.lerp(values, inside)
            chosen = waiting[windows.image] & _differ(changed, here)[:, 0, 0, 0]
            if not chosen.all():
                windows, changed, inside = windows.where(chosen), changed[chosen], inside[chosen]
            windows.put(made.images, changed)
            windows.put(made.mask, windows.of(made.mask) | (inside > 0))
            seen[windows.image] = True
        return seen


def paste(images: Tensor, draw: Draw, tries: int = TRIES) -> PseudoAnomalies:
    """Images with what `draw` returns pasted on them: of several draws the first seen.

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
    waiting = torch.ones(len(made.images), dtype=torch.bool, device=made.images.device)
    if some is not None:
        waiting = torch.zeros_like(waiting).index_fill(0, some, True)
    for _ in range(tries):
        waiting = waiting & ~draw().into(made, waiting)
        if not waiting.any():
            break


def replaced(images: Tensor, changed: Tensor) -> PseudoAnomalies:
    """The changed images whole, with masks all True; one that looks as before stays as it was, its mask empty."""
    seen = _differ(changed, images)
    if not seen.all():
        changed = torch.where(seen, changed, images)
    return PseudoAnomalies(changed, seen.expand(-1, 1, *images.shape[2:]).contiguous())


@torch.no_grad()
def _differ(first: Tensor, second: Tensor) -> Tensor:
    """Which of the images can be told apart: bool (B, 1, 1, 1)."""
    for step in (8, 1):  # a 64th of the pixels is nearly always enough
        change = (first[..., ::step, ::step] - second[..., ::step, ::step]).abs()
        differ = change.amax((1, 2, 3), keepdim=True) >= VISIBLE
        if differ.all():
            break
    return differ
