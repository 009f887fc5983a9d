"""Whole images turned and their halves swapped, compiled; `rotation` and `cutperm` say what is computed."""

from __future__ import annotations

from trainables.pseudo_anomalies._compiled import Array, compiled, images_of, kernel


@kernel
def quarter_turns(changed: Array, images: Array, chosen: Array) -> None:
    """Square images turned by 90, 180 or 270 degrees, for 0, 1 and 2."""
    for b in images_of(len(images)):
        for c in range(images.shape[1]):
            _turn(images[b, c], changed[b, c], chosen[b])


@compiled
def _turn(plane: Array, turned: Array, quarters: int) -> None:
    side = len(plane)
    last = side * side - 1
    pixels = plane.reshape(side * side)  # by one number a pixel is found faster than by two
    for y in range(side):
        line = turned[y]
        if quarters == 0:
            for x in range(side):
                line[x] = pixels[x * side + side - 1 - y]
        elif quarters == 1:
            for x in range(side):
                line[x] = pixels[last - y * side - x]
        else:
            for x in range(side):
                line[x] = pixels[last - side + 1 + y - x * side]


@kernel
def swapped_halves(changed: Array, images: Array, chosen: Array) -> None:
    """Upper and lower halves swapped for 0, left and right for 1, both for 2."""
    channels, rows, columns = images.shape[1:]
    for b in images_of(len(images)):
        down = 0 if chosen[b] == 1 else rows // 2
        right = 0 if chosen[b] == 0 else columns // 2
        for c in range(channels):
            for y in range(rows):
                line, before = changed[b, c, y], images[b, c, (y + down) % rows]
                _copy(before[right:], line)
                _copy(before[:right], line[columns - right :])


@compiled
def _copy(values: Array, line: Array) -> None:
    for x in range(len(values)):
        line[x] = values[x]
