"""Boxes filled with boxes of images, compiled; `_boxed` says what is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainables.pseudo_anomalies._compiled import Array, compiled, images_of, kernel
from trainables.pseudo_anomalies._visible import VISIBLE


@kernel
def paste_boxes(
    images: Array, mask: Array, seen: Array, waiting: Array, box: Any, there: Any, colour: Any, share: Array
) -> None:
    """Write into those images and masks that wait for it and would be seen to change."""
    for b in images_of(len(waiting)):
        if waiting[b]:
            top, left, tall, wide = box.top[b], box.left[b], box.height[b], box.width[b]
            source, from_top, from_left = there.source[there.number[b]], there.top[b], there.left[b]
            shift = colour.lift[b] * _mean(source, from_top, from_left, tall, wide) if colour.lift[b] else 0.0
            values = np.empty((images.shape[1], tall, wide), images.dtype)
            for c in range(len(values)):
                for y in range(tall):
                    line, here = values[c, y], images[b, c, top + y][left : left + wide]
                    _recolour(source, from_top + y, from_left, colour.matrix[b, c], images.dtype.type(shift), line)
                    seen[b] |= _mix(here, share[b], line)
            if seen[b]:
                images[b, :, top : top + tall, left : left + wide] = values
                mask[b, 0, top : top + tall, left : left + wide] = True


@compiled
def _mean(images: Array, top: int, left: int, tall: int, wide: int) -> float:
    """Of a box in an image."""
    total = 0.0
    for c in range(len(images)):
        for y in range(tall):
            line = images[c, top + y][left : left + wide]
            for x in range(wide):
                total += line[x]
    return total / (len(images) * tall * wide)


@compiled
def _recolour(images: Array, y: int, left: int, factors: Array, shift: float, line: Array) -> None:
    """One channel of a row of an image, from column `left` on: a sum of all channels."""
    line[:] = shift
    for c in range(len(images)):
        there, factor = images[c, y][left : left + len(line)], factors[c]
        if factor:
            for x in range(len(line)):
                line[x] += factor * there[x]


@compiled
def _mix(here: Array, share: float, line: Array) -> bool:
    """A share of the line, clamped, is mixed with what is here; whether anybody could see it."""
    seen = 0
    for x in range(len(line)):
        value = min(max(line[x], line.dtype.type(0)), line.dtype.type(1))
        line[x] = value - (1 - share) * (value - here[x])
        seen += abs(line[x] - here[x]) >= line.dtype.type(VISIBLE)
    return seen > 0
