"""Paste something on a part of every image; draw again where that changed nothing anybody could see."""

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
        """Write it into the waiting ones (B,) of the images that would be seen to change; which (B,) those are."""
        ...


Draw: TypeAlias = Callable[[Tensor], Change]
"""Draws a change for all images, so that the result of one does not depend on its neighbours' luck.

Only where images still wait for it, bool (B,), must the change be complete.
"""


class Scattered(NamedTuple):
    """New values (N, C) for pixels anywhere."""

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
    """Changes, each of its own images: bool (B,)."""

    changes: list[tuple[Change, Tensor]]

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        seen = torch.zeros_like(waiting)
        for change, own in self.changes:
            if (waiting & own).any():
                seen |= change.into(made, waiting & own)
        return seen


def one_draw_of(chosen: Tensor, draws: list[Draw]) -> Draw:
    """Draws for every image by the draw of its number: `draws[chosen[b]]`."""

    def draw(waiting: Tensor) -> Several:
        groups = [chosen == number for number in range(len(draws))]
        return Several([(each(waiting & own), own) for each, own in zip(draws, groups, strict=True)])

    return draw


def pasted(drawing: Callable[..., Draw]) -> Callable[..., PseudoAnomalies]:
    """The pseudo-anomaly that pastes what drawing(images, generator, *, ...) draws; that itself stays as `drawing`."""

    @functools.wraps(drawing)
    def item(images: Tensor, generator: torch.Generator, **parameters: object) -> PseudoAnomalies:
        return paste(images, drawing(images, generator, **parameters))

    item.drawing = drawing  # type: ignore[attr-defined]
    return item


def paste(images: Tensor, draw: Draw, tries: int = TRIES) -> PseudoAnomalies:
    """Images with what `draw` returns pasted on them: of several draws the first seen.

    A black patch pasted on black would be a normal image called anomalous, so an image is drawn for until a pixel
    changes by a grey level. Where no draw does that, the image stays as it is and its mask is empty.
    """
    made = unchanged(images)
    paste_into(made, draw, torch.ones_like(made.mask[:, 0, 0, 0]), tries)
    return made


def unchanged(images: Tensor) -> PseudoAnomalies:
    """A copy of the images with empty masks."""
    return PseudoAnomalies(images.clone(), torch.zeros_like(images[:, :1], dtype=torch.bool))


def paste_into(made: PseudoAnomalies, draw: Draw, waiting: Tensor, tries: int = TRIES) -> None:
    """As `paste`, written into those images that wait for it, bool (B,)."""
    for _ in range(tries):
        if not waiting.any():
            break
        waiting = waiting & ~draw(waiting).into(made, waiting)
