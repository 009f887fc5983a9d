"""Poisson blending in a box of every image at once, exactly (Perez et al. 2003).

In a box the discrete Poisson equation is diagonal in sine waves. A batch of sine transforms of different lengths is
one batched matrix product with matrices that are zero beyond each box, so there is nothing to iterate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from trainables.pseudo_anomalies._row_first import along_columns, along_rows, row_first
from trainables.pseudo_anomalies._windows import Box, Windows, around

Gradients: TypeAlias = tuple[Tensor, Tensor]
"""Differences of (K, M, C, N) to the next row (K, M - 1, C, N) and to the next column (K, M, C, N - 1)."""


def gradients(values: Tensor) -> Gradients:
    """Of windows (K, M, C, N)."""
    return values[:, 1:] - values[:, :-1], values[..., 1:] - values[..., :-1]


def stronger(first: Gradients, second: Gradients) -> Gradients:
    """Of two the one of the larger magnitude, at every place and in either direction."""
    # The sign of a sum is that of its stronger part.
    down, right = (
        torch.maximum(one.abs(), other.abs()).copysign(one + other) for one, other in zip(first, second, strict=True)
    )
    return down, right


def solve(around: Tensor, wanted: Gradients, rows: Tensor, columns: Tensor) -> Tensor:
    """Values in boxes that meet their surroundings and come as near as can be to the wanted gradients.

    around: (K, M + 2, C, N + 2) windows; wanted: their gradients as `gradients` gives them.
    rows, columns: (K, M) and (K, N), 1 for lines of the boxes and 0 for others, of windows without their outermost
    lines. Returns (K, M, C, N), `around` itself outside the boxes.
    """
    # What is to be added to the window is 0 around the box, so that nothing of the frame comes into the equation.
    down, right = (there - here for there, here in zip(wanted, gradients(around), strict=True))
    down, right = down[..., 1:-1], right[:, 1:-1]
    divergence = down[:, :-1] - down[:, 1:] + right[..., :-1] - right[..., 1:]
    vertical, curve_y = _sines(rows)
    horizontal, curve_x = _sines(columns)
    waves = along_rows(vertical, along_columns(divergence, horizontal))
    waves = waves / (curve_y[:, :, None, None] + curve_x[:, None, None])
    return around[:, 1:-1, :, 1:-1] + along_columns(along_rows(vertical, waves), horizontal)


def blend(
    images: Tensor, box: Box, wanted: Callable[[Windows, Tensor], Gradients], image: Tensor | None = None
) -> Iterator[tuple[Windows, Tensor]]:
    """Windows around the boxes and values in [0, 1] that blend something into them, block by block.

    box: not on the outermost pixels, each in the image of its number (N,), its own if not given.
    wanted(windows, here): gradients for windows, one pixel wider, that now look like `here` (K, M, C, N).
    """
    for windows in around(images, box, image, rim=1):
        here = row_first(windows.of(images))
        rows, columns = windows.rows[:, 1:-1], windows.columns[:, 1:-1]
        inner = windows._replace(top=windows.top + 1, left=windows.left + 1, rows=rows, columns=columns)
        yield inner, solve(here, wanted(windows, here), rows, columns).transpose(1, 2).clamp(0, 1)


def _sines(lines: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal sine transform (K, N, N) of those lines (K, N) that are 1, and its waves' curvature (K, N)."""
    place = lines.cumsum(1) * lines
    length = lines.sum(1)[:, None]
    step = math.pi / (length + 1)
    waves = (2 / (length + 1)).sqrt()[:, :, None] * ((step * place)[:, :, None] * place[:, None, :]).sin()
    # Where there are no waves any curvature but 0 will do.
    return waves, 2 - 2 * (step * place).cos() + 1 - lines
