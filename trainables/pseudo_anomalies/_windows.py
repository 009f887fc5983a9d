"""Windows: upright boxes in images, those of about one size as one block, so that no pixel's place is written down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 8
"""Boxes in a block: few enough that all are of about one size and that a block stays in a processor's cache."""


class Box(NamedTuple):
    """A box per image, corner and sides in pixels: int64 (B,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Windows(NamedTuple):
    """Windows (K,) of one size, each inside its image and around a box of its own.

    number: which of the boxes; image: which image it is in; top, left: the window's corner; all int64 (K,).
    rows, columns: (K, height) and (K, width), 1 for the window's lines that are the box's and 0 for the others.
    """

    number: Tensor
    image: Tensor
    top: Tensor
    left: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def inside(self) -> Tensor:
        """1 in the boxes, 0 around them: (K, 1, height, width)."""
        return self.rows[:, None, :, None] * self.columns[:, None, None, :]

    def fainter(self, share: Tensor) -> Windows:
        """The same windows with boxes of which only a share (K,) counts, `inside` too."""
        return self._replace(rows=self.rows * share[:, None])

    def lines(self) -> tuple[Tensor, Tensor]:
        """The numbers of the windows' rows (K, height) and columns (K, width) in their images."""
        rows, columns = (torch.arange(part.shape[1], device=part.device) for part in (self.rows, self.columns))
        return self.top[:, None] + rows, self.left[:, None] + columns

    def of(self, images: Tensor, image: Tensor | None = None) -> Tensor:
        """What the images (B, C, H, W) show in the windows, or other images of these numbers (K,) in the same place."""
        size = self.rows.shape[1], self.columns.shape[1]
        return block(images, self.image if image is None else image, self.top, self.left, *size)

    def put(self, images: Tensor, values: Tensor) -> None:
        """Write values (K, C, height, width) into the windows of the images."""
        if by_pixel(images):
            rows, columns = self.lines()
            images[self.image[:, None, None], :, rows[:, :, None], columns[:, None]] = values.permute(0, 2, 3, 1)
        else:
            every = images.unfold(2, self.rows.shape[1], 1).unfold(3, self.columns.shape[1], 1)
            every[self.image, :, self.top, self.left] = values

    def where(self, chosen: Tensor) -> Windows:
        """Those of the windows for which `chosen` (K,) is True."""
        return Windows(*(part[chosen] for part in self))


def by_pixel(images: Tensor) -> bool:
    """Whether blocks are looked up pixel by pixel.

    In a view of all windows of a size it is done by whole lines, which is faster. But its gradient, and on CUDA its
    deterministic writing, would make all these windows.
    """
    return images.requires_grad or torch.are_deterministic_algorithms_enabled()


def block(images: Tensor, image: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Blocks (K, C, height, width) of these images from these corners on (K,), inside of them."""
    if by_pixel(images):
        rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
        return crossings(images, image, top[:, None] + rows, left[:, None] + columns)
    return images.unfold(2, height, 1).unfold(3, width, 1)[image, :, top, left]


def crossings(images: Tensor, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values (K, C, M, N) of these images (K,) at every pair of rows (K, M) and columns (K, N)."""
    return images[image[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def around(images: Tensor, box: Box, image: Tensor | None = None, rim: int = 0) -> Iterator[Windows]:
    """Windows around every box (N,), as many pixels wider on every side as `rim`, which must lie in the image, too.

    image: the number (N,) of the image that each box is in; its own if not given.
    """
    own = torch.arange(len(box.top), device=box.top.device) if image is None else image
    # From wide to tall, so that a block is of about one size and shape.
    order = torch.where(box.height < box.width, -box.width, box.height).argsort()
    for some in order.split(AT_ONCE):  # type: ignore[no-untyped-call]
        (top, rows), (left, columns) = (
            _along(first[some], side[some], length, rim, images.dtype)
            for first, side, length in (
                (box.top, box.height, images.shape[-2]),
                (box.left, box.width, images.shape[-1]),
            )
        )
        yield Windows(some, own[some], top, left, rows, columns)


def _along(first: Tensor, side: Tensor, length: int, rim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Along one axis: where the windows (K,) begin, and which of their lines (K, M) are the boxes'."""
    longest = int(side.amax()) + 2 * rim
    start = (first - rim).clamp(max=length - longest)
    line = torch.arange(longest, device=first.device) - (first - start)[:, None]
    return start, ((line >= 0) & (line < side[:, None])).to(dtype)


def boxes_elsewhere(images: Tensor, windows: Windows, top: Tensor, left: Tensor) -> Tensor:
    """Values (K, C, height, width) for windows: in their boxes what the images show in such a box at top, left (K,)."""
    (down, starts), (right, lefts) = (
        _nearest(first - part.argmax(1), part.shape[1], length)
        for first, part, length in zip((top, left), (windows.rows, windows.columns), images.shape[-2:], strict=True)
    )
    return shifted(windows._replace(top=starts, left=lefts).of(images), down, right)


def _nearest(first: Tensor, side: int, length: int) -> tuple[Tensor, Tensor]:
    """Where a window that should begin at `first` begins so that it is in the image, and how far off that is."""
    start = first.clamp(0, length - side)
    return start - first, start


def shifted(values: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Values (K, C, M, N) moved by whole lines (K,) each way; what comes in from outside is 0."""
    below, beside = int(down.abs().amax()), int(right.abs().amax())
    if not below and not beside:
        return values
    padded, own = F.pad(values, (beside, beside, below, below)), torch.arange(len(values), device=values.device)
    return block(padded, own, below - down, beside - right, *values.shape[2:])
