"""Exact Poisson blending: a box of every image takes on the gradients of another image (Perez et al. 2003)."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import torch
from scipy.fft import dstn
from torch import Tensor
from torch.nn.functional import pad

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._boxes import Box, fill

Gradients: TypeAlias = tuple[Tensor, Tensor]
"""Differences of (C, M, N) to the next row (C, M - 1, N) and to the next column (C, M, N - 1)."""


class Places(NamedTuple):
    """Which place of another image, along one axis, belongs to a pixel at `line`: shift + step * line, both (B,).

    A place outside the other image is moved to its border.
    """

    shift: Tensor
    step: Tensor

    def of(self, b: int, lines: slice, length: int) -> Tensor:
        """Of image b, in double precision (M,): a slightly wrong place could make the other gradient the stronger."""
        shift, step = (part[b].double() for part in self)
        numbers = torch.arange(lines.start, lines.stop, device=shift.device)
        return (shift + step * numbers).clamp(0, length - 1)


class Blended(NamedTuple):
    """A change that fills a box of every image with values in [0, 1] that meet the pixels around it.

    Their gradients are as close as possible to the stronger of two, chosen per pixel and direction: the image's own,
    times `own`, and that of source[number] at other places, times `foreign`.

    box: keeps clear of the outermost pixels. number: int64 (B,). own, foreign: (B,).
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
        height, width = made.images.shape[-2:]
        numbers = self.number.tolist()
        precise = torch.promote_types(made.images.dtype, torch.float32)

        def values(b: int, rows: slice, columns: slice) -> Tensor:
            rows, columns = slice(rows.start - 1, rows.stop + 1), slice(columns.start - 1, columns.stop + 1)
            here = made.images[b, :, rows, columns].to(precise)
            places = self.down.of(b, rows, height), self.across.of(b, columns, width)
            there = between(self.source[numbers[b]].to(precise), *places)
            wanted = stronger(gradients(self.own[b] * here), gradients(self.foreign[b] * there))
            return solve(here, wanted).clamp(0, 1)

        return fill(made, waiting, self.box, values)


def between(image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Values (C, M, N) of an image (C, H, W) at every pair of places (M,) and (N,), bilinear between pixels."""
    upper, lower = (image.index_select(1, rows) for rows in (down.long(), down.ceil().long()))
    lines = upper.lerp(lower, down.frac()[:, None].to(image.dtype))
    left, right = (lines.index_select(2, columns) for columns in (across.long(), across.ceil().long()))
    return left.lerp(right, across.frac().to(image.dtype))


def gradients(values: Tensor) -> Gradients:
    """Of values (C, M, N)."""
    return values.diff(dim=1), values.diff(dim=2)


def stronger(first: Gradients, second: Gradients) -> Gradients:
    """The gradient of larger magnitude, at every place and in either direction."""
    # The sign of a sum is that of its stronger part.
    down, right = (
        torch.maximum(one.abs(), other.abs()).copysign(one + other) for one, other in zip(first, second, strict=True)
    )
    return down, right


def solve(here: Tensor, wanted: Gradients) -> Tensor:
    """Values (C, M, N) that meet the pixels around them and whose gradients are as close as possible to the wanted.

    here: (C, M + 2, N + 2), the present values, one pixel wider; wanted: its gradients as `gradients` gives them.
    The discrete Poisson equation of a box is diagonal in sine waves, so two sine transforms there and back solve it.
    """
    # The equation is for what is added to the present values: it is 0 around the box, so the border drops out.
    down, right = (there - own for there, own in zip(wanted, gradients(here), strict=True))
    divergence = right[:, 1:-1].diff(dim=2) + down[..., 1:-1].diff(dim=1)
    curve_y, curve_x = (_curvature(length, here) for length in divergence.shape[1:])
    waves = sine_waves(divergence) / (curve_y[:, None] + curve_x)
    scale = 1 / (4 * (len(curve_y) + 1) * (len(curve_x) + 1))
    return here[:, 1:-1, 1:-1] - scale * sine_waves(waves)


def sine_waves(values: Tensor) -> Tensor:
    """The sine transform (DST-I, without normalisation) of values (C, M, N) along both of their last axes.

    SciPy's is the faster one and gives the same bits on any number of threads, but knows neither gradients nor GPUs.
    """
    if values.device.type == "cpu" and not values.requires_grad:
        return torch.from_numpy(dstn(values.numpy(), type=1, axes=(1, 2)))
    for _ in range(2):
        # The Fourier transform of an odd period is all sines; with its second half left at 0 they are half as large.
        period = torch.fft.rfft(pad(values, (1, 0)), n=2 * (values.shape[2] + 1))
        values = -2 * period.imag[..., 1:-1].mT
    return values


def _curvature(length: int, like: Tensor) -> Tensor:
    """By what the second difference multiplies each of the sine waves (N,), as a positive number."""
    steps = torch.arange(1, length + 1, dtype=like.dtype, device=like.device)
    return 2 - 2 * (math.pi / (length + 1) * steps).cos()
