"""Paste something onto a part of every image, and draw again where that made no visible change."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._spots import Spots, read
from trainables.pseudo_anomalies._visible import VISIBLE

TRIES = 8


class Change(Protocol):
    """New values for a part of the images."""

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """Write it into the waiting images, bool (B,), that it changes visibly; returns which they are, bool (B,)."""
        ...


Draw: TypeAlias = Callable[[Tensor], Change]
"""Draws a change for every image, whether it still waits or not: no image's result depends on the others' luck.

The change may be incomplete for images that do not wait, bool (B,).
"""


class Scattered(NamedTuple):
    """A change that gives new values (N, C) to any pixels."""

    spots: Spots
    values: Tensor

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        (images, mask), (spots, values) = made, self
        with torch.no_grad():
            change = (values - read(images, spots)).abs().amax(1)
            seen = waiting & (images.new_zeros(len(images)).scatter_reduce(0, spots.image, change, "amax") >= VISIBLE)
        [keep] = seen[spots.image].nonzero(as_tuple=True)
        image, row, column = spots.where(keep)
        images[image, :, row, column] = values[keep]
        mask[image, 0, row, column] = True
        return seen


class Several(NamedTuple):
    """Several changes, each for its own images, bool (B,)."""

    changes: list[tuple[Change, Tensor]]

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        seen = torch.zeros_like(waiting)
        for change, own in self.changes:
            if (waiting & own).any():
                seen |= change.into(made, waiting & own)
        return seen


def one_draw_of(chosen: Tensor, draws: list[Draw]) -> Draw:
    """A draw that uses `draws[chosen[b]]` for image b."""

    def draw(waiting: Tensor) -> Several:
        groups = [chosen == number for number in range(len(draws))]
        return Several([(each(waiting & own), own) for each, own in zip(draws, groups, strict=True)])

    return draw


def pasted(drawing: Callable[..., Draw]) -> Callable[..., PseudoAnomalies]:
    """The pseudo-anomaly that pastes what drawing(images, generator, *, ...) draws; keeps it as attribute `drawing`."""

    @functools.wraps(drawing)
    def item(images: Tensor, generator: torch.Generator, **parameters: object) -> PseudoAnomalies:
        return paste(images, drawing(images, generator, **parameters))

    item.drawing = drawing  # type: ignore[attr-defined]
    return item


def paste(images: Tensor, draw: Draw, tries: int = TRIES) -> PseudoAnomalies:
    """Images with the first visible change that `draw` returns pasted on them.

    A black patch pasted on black would label a normal image anomalous, so an image gets new draws until one of its
    pixels changes by a grey level. If none of `tries` does that, the image stays as it is and its mask is empty.
    """
    made = unchanged(images)
    paste_into(made, draw, torch.ones_like(made.mask[:, 0, 0, 0]), tries)
    return made


def unchanged(images: Tensor) -> PseudoAnomalies:
    """A copy of the images with empty masks."""
    return PseudoAnomalies(images.clone(), torch.zeros_like(images[:, :1], dtype=torch.bool))


def paste_into(made: PseudoAnomalies, draw: Draw, waiting: Tensor, tries: int = TRIES) -> None:
    """As `paste`, but written into the waiting images, bool (B,), of `made`."""
    for _ in range(tries):
        if not waiting.any():
            break
        waiting = waiting & ~draw(waiting).into(made, waiting)
