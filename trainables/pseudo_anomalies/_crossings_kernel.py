"""Pixels of images at every pair of rows and columns, compiled; `_windows.crossings` says what is computed."""

from __future__ import annotations

from trainables.pseudo_anomalies._compiled import Array, images_of, kernel


@kernel
def read_crossings(values: Array, images: Array, image: Array, rows: Array, columns: Array) -> None:
    """Fill values (K, C, M, N)."""
    for k in images_of(len(values)):
        for c in range(values.shape[1]):
            for m in range(values.shape[2]):
                line, there = values[k, c, m], images[image[k], c, rows[k, m]]
                for n in range(len(line)):
                    line[n] = there[columns[k, n]]
