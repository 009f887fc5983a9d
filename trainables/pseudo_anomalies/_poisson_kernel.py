"""Poisson blending, compiled; `_poisson` says what is computed.

A sine transform along a box's shorter side leaves of the Poisson equation one tridiagonal system for each wave, which
is solved along the other side (Swarztrauber 1977, "Fourier analysis").
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trainables.pseudo_anomalies._compiled import Array, compiled, images_of, kernel
from trainables.pseudo_anomalies._visible import VISIBLE


@kernel
def blend_boxes(
    images: Array,
    mask: Array,
    seen: Array,
    waiting: Array,
    box: Any,
    source: Array,
    number: Array,
    down: Any,
    across: Any,
    own: Array,
    foreign: Array,
) -> None:
    """Write into those images and masks that wait for it and would be seen to change."""
    for b in images_of(len(waiting)):
        if waiting[b]:
            here, other, dtype = images[b], source[number[b]], images.dtype
            top, left, tall, wide = box.top[b], box.left[b], box.height[b], box.width[b]
            upper, below = _between(top - 1, tall + 2, down.shift[b], down.step[b], here.shape[1], dtype)
            before, right = _between(left - 1, wide + 2, across.shift[b], across.step[b], here.shape[2], dtype)
            sines, diagonal = _sines(min(tall, wide), dtype)
            there = np.empty((tall + 2, wide + 2), dtype)
            values = np.empty((len(here), tall, wide), dtype)
            for c in range(len(here)):
                _read(other[c], upper, below, before, right, there)
                _divergence(here[c], top, left, there, own[b], foreign[b], values[c])
                if wide <= tall:
                    _solve(values[c], sines, diagonal)
                else:
                    turned = values[c].T.copy()
                    _solve(turned, sines, diagonal)
                    values[c] = turned.T
                seen[b] |= _add(here[c], top, left, values[c])
            if seen[b]:
                here[:, top : top + tall, left : left + wide] = values
                mask[b, 0, top : top + tall, left : left + wide] = True


@compiled
def _between(first: int, count: int, shift: float, step: float, length: int, dtype: Any) -> tuple[Array, Array]:
    """For every line the last pixel before its place along an axis of another image, and how far behind it that is."""
    before, behind = np.empty(count, np.int64), np.empty(count, dtype)
    for i in range(count):
        place = min(max(shift + step * (first + i), 0), length - 1)
        before[i] = min(int(place), length - 2)
        behind[i] = place - before[i]
    return before, behind


@compiled
def _read(plane: Array, upper: Array, down: Array, before: Array, right: Array, there: Array) -> None:
    """Values there of another image, bilinear between its pixels."""
    for i in range(len(upper)):
        above, below, line = plane[upper[i]], plane[upper[i] + 1], there[i]
        for j in range(len(before)):
            x = before[j]
            one = above[x] + right[j] * (above[x + 1] - above[x])
            other = below[x] + right[j] * (below[x + 1] - below[x])
            line[j] = one + down[i] * (other - one)


@compiled
def _divergence(plane: Array, top: int, left: int, there: Array, own: float, foreign: float, values: Array) -> None:
    """Of the change of gradients that is wanted in a box of a plane, whose outermost pixels `there` has, too."""
    tall, wide = values.shape
    flow = np.empty(wide + 1, values.dtype)
    for y in range(tall):
        here, other, line = plane[top + y][left - 1 : left + wide + 1], there[y + 1], values[y]
        for x in range(wide + 1):
            flow[x] = _change(here[x + 1] - here[x], other[x + 1] - other[x], own, foreign)
        for x in range(wide):
            line[x] = flow[x] - flow[x + 1]
    for y in range(tall + 1):
        above, here = plane[top + y - 1][left : left + wide], plane[top + y][left : left + wide]
        before, other = there[y][1:], there[y + 1][1:]
        for x in range(wide):
            flow[x] = _change(here[x] - above[x], other[x] - before[x], own, foreign)
        if y < tall:
            line = values[y]
            for x in range(wide):
                line[x] += flow[x]
        if y > 0:
            line = values[y - 1]
            for x in range(wide):
                line[x] -= flow[x]


@compiled
def _change(here: float, there: float, own: float, foreign: float) -> float:
    """How much the stronger of two gradients, weighted, differs from the one that is here."""
    first, second = own * here, foreign * there
    strength = max(abs(first), abs(second))
    return (strength if first + second >= 0 else -strength) - here


@compiled
def _add(plane: Array, top: int, left: int, values: Array) -> bool:
    """What is there is added to values, clamped; whether anybody could see it."""
    seen = 0
    for y in range(len(values)):
        here, line = plane[top + y][left : left + values.shape[1]], values[y]
        for x in range(len(line)):
            value = min(max(here[x] + line[x], values.dtype.type(0)), values.dtype.type(1))
            seen += abs(value - here[x]) >= values.dtype.type(VISIBLE)
            line[x] = value
    return seen > 0


@compiled
def _sines(length: int, dtype: Any) -> tuple[Array, Array]:
    """The orthonormal sine transform (N, N), and the diagonal (N,) of the system that each wave leaves."""
    period = 2 * (length + 1)
    wave, diagonal = np.empty(period, dtype), np.empty(length, dtype)
    for t in range(period):
        wave[t] = math.sqrt(2 / (length + 1)) * math.sin(math.pi * t / (length + 1))
    sines = np.empty((length, length), dtype)
    for i in range(length):
        diagonal[i] = 4 - 2 * math.cos(math.pi * (i + 1) / (length + 1))
        t = 0
        for j in range(length):
            t += i + 1
            if t >= period:
                t -= period
            sines[i, j] = wave[t]
    return sines, diagonal


@compiled
def _times(left: Array, right: Array, out: Array) -> None:
    """The matrix product; by four lines at once, so that `out` is read and written less often."""
    inner = len(right)
    out[:] = 0
    for i in range(len(left)):
        line, result = left[i], out[i]
        for j in range(0, inner - 3, 4):
            a, b, c, d = line[j], line[j + 1], line[j + 2], line[j + 3]
            p, q, r, s = right[j], right[j + 1], right[j + 2], right[j + 3]
            for x in range(len(result)):
                result[x] += a * p[x] + b * q[x] + c * r[x] + d * s[x]
        for j in range(inner - inner % 4, inner):
            a, p = line[j], right[j]
            for x in range(len(result)):
                result[x] += a * p[x]


@compiled
def _solve(values: Array, sines: Array, diagonal: Array) -> None:
    """The Poisson equation with 0 all around: of a right-hand side (M, N), in place, transformed along its rows."""
    waves, factor = np.empty_like(values), np.empty_like(values)
    _times(values, sines, waves)
    for x in range(len(diagonal)):
        factor[0, x] = 1 / diagonal[x]
        waves[0, x] *= factor[0, x]
    for i in range(1, len(waves)):
        line, above, now, before = waves[i], waves[i - 1], factor[i], factor[i - 1]
        for x in range(len(diagonal)):
            now[x] = 1 / (diagonal[x] - before[x])
            line[x] = (line[x] + above[x]) * now[x]
    for i in range(len(waves) - 2, -1, -1):
        line, below, now = waves[i], waves[i + 1], factor[i]
        for x in range(len(diagonal)):
            line[x] += now[x] * below[x]
    _times(waves, sines, values)
