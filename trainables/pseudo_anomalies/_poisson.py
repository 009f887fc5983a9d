"""Poisson blending of a box of every image with something of an image, exactly (Perez et al. 2003)."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._processor import run, usable
from trainables.pseudo_anomalies._windows import Box, Windows, around, crossings

Gradients: TypeAlias = tuple[Tensor, Tensor]
"""Differences of (K, C, M, N) to the next row (K, C, M - 1, N) and to the next column (K, C, M, N - 1)."""


class Places(NamedTuple):
    """Where along one axis of another image that lies which a pixel at `place` is given: shift + step * place, (B,).

    A place outside the image is its border's.
    """

    shift: Tensor
    step: Tensor

    def of(self, lines: Tensor, image: Tensor, length: int) -> Tensor:
        """For lines (K, M) of these images (K,), exactly: a little aside another gradient may be the stronger one."""
        shift, step = (part.double()[image, None] for part in self)
        return (shift + step * lines).clamp(0, length - 1)


class Blended(NamedTuple):
    """What goes into the box of every image: values in [0, 1] that meet what is around it.

    Their gradients come as near as can be to the stronger one, everywhere and in either direction, of the image's own,
    times `own`, and of those of source[number] at other places, times `foreign`.

    box: not on the outermost pixels. number: int64 (B,). own, foreign: (B,).
    """

    box: Box
    source: Tensor
    number: Tensor
    down: Places
    across: Places
    own: Tensor
    foreign: Tensor

    def into(self, made: PseudoAnomalies, waiting: Tensor) -> Tensor:
        """As `Change`."""
        images, seen = made.images, torch.zeros_like(waiting)
        if usable(images, self.source):
            from trainables.pseudo_anomalies._poisson_kernel import blend_boxes

            run(blend_boxes, *made, seen, waiting, *self)
            return seen
        windows = around(images, self.box, waiting.nonzero()[:, 0], rim=1)
        image, rows, columns, in_rows, in_columns = windows
        here = windows.of(images)
        places = self.down.of(rows, image, images.shape[-2]), self.across.of(columns, image, images.shape[-1])
        own, foreign = (weight[image, None, None, None] for weight in (self.own, self.foreign))
        there = gradients(foreign * between(self.source, self.number[image], *places))
        wanted = stronger(gradients(own * here), there)
        inner = Windows(image, *(part[:, 1:-1] for part in (rows, columns, in_rows, in_columns)))
        return seen.index_fill(0, inner.write(solve(here, wanted, inner).clamp(0, 1), made), True)


def between(images: Tensor, image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Values (K, C, M, N) of these images (K,) at every pair of places (K, M) and (K, N), bilinear between pixels."""
    upper, lower = (
        crossings(images, image, rows, across.long()).lerp(
            crossings(images, image, rows, across.ceil().long()), across.frac()[:, None, None].to(images.dtype)
        )
        for rows in (down.long(), down.ceil().long())
    )
    return upper.lerp(lower, down.frac()[:, None, :, None].to(images.dtype))


def gradients(values: Tensor) -> Gradients:
    """Of windows (K, C, M, N)."""
    return values[..., 1:, :] - values[..., :-1, :], values[..., 1:] - values[..., :-1]


def stronger(first: Gradients, second: Gradients) -> Gradients:
    """Of two the one of the larger magnitude, at every place and in either direction."""
    # The sign of a sum is that of its stronger part.
    down, right = (
        torch.maximum(one.abs(), other.abs()).copysign(one + other) for one, other in zip(first, second, strict=True)
    )
    return down, right


def solve(here: Tensor, wanted: Gradients, inner: Windows) -> Tensor:
    """Values (K, C, M, N) in boxes that meet what is around them and come as near as can be to the wanted gradients.

    here: (K, C, M + 2, N + 2), what is there, one pixel wider; wanted: its gradients as `gradients` gives them.
    The discrete Poisson equation of a box is diagonal in sine waves. A batch of sine transforms of different lengths is
    one batched matrix product with matrices that are zero beyond each box, so there is nothing to iterate.
    """
    # What is to be added to what is there is 0 around the box, so that nothing of the frame comes into the equation.
    down, right = (there - own for there, own in zip(wanted, gradients(here), strict=True))
    down, right = down[..., 1:-1], right[..., 1:-1, :]
    divergence = down[..., :-1, :] - down[..., 1:, :] + right[..., :-1] - right[..., 1:]
    vertical, curve_y = _sines(inner.in_rows.to(here.dtype))
    horizontal, curve_x = _sines(inner.in_columns.to(here.dtype))
    vertical, horizontal = vertical[:, None], horizontal[:, None]
    waves = (vertical @ divergence @ horizontal) / (curve_y[:, None, :, None] + curve_x[:, None, None])
    return here[..., 1:-1, 1:-1] + vertical @ waves @ horizontal


def _sines(lines: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal sine transform (K, N, N) of those lines (K, N) that are 1, and its waves' curvature (K, N)."""
    place = lines.cumsum(1) * lines
    length = lines.sum(1)[:, None]
    step = math.pi / (length + 1)
    waves = (2 / (length + 1)).sqrt()[:, :, None] * ((step * place)[:, :, None] * place[:, None, :]).sin()
    # Where there are no waves any curvature but 0 will do.
    return waves, 2 - 2 * (step * place).cos() + 1 - lines
