"""Pixels anywhere given new values, compiled; `_paste.Scattered` says what is computed."""

from __future__ import annotations

from typing import Any

from trainables.pseudo_anomalies._compiled import Array, images_of, kernel
from trainables.pseudo_anomalies._visible import VISIBLE

PARTS = 8


@kernel
def paste_spots(images: Array, mask: Array, seen: Array, waiting: Array, spots: Any, values: Array) -> None:
    """Write into those images and masks that wait for it and would be seen to change."""
    for part in images_of(PARTS):
        image, row, column = spots.image, spots.row, spots.column
        for n in range(len(image)):
            b = image[n]
            if b % PARTS == part and waiting[b] and not seen[b]:
                for c in range(images.shape[1]):
                    seen[b] |= abs(values[n, c] - images[b, c, row[n], column[n]]) >= images.dtype.type(VISIBLE)
        for n in range(len(image)):
            b = image[n]
            if b % PARTS == part and seen[b]:
                for c in range(images.shape[1]):
                    images[b, c, row[n], column[n]] = values[n, c]
                mask[b, 0, row[n], column[n]] = True
