"""Shapes of scores in simulated audits: how normals and anomalies are distributed, alone or as images of parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]


class Parts(NamedTuple):
    """Images of parts: the scores of normals and anomalies, and the number of the part of each."""

    normals: Floats
    anomalies: Floats
    normal_parts: NDArray[np.int64]
    anomaly_parts: NDArray[np.int64]


DrawParts = Callable[[np.random.Generator, int, int], Parts]


def binormal(apart: float) -> tuple[Draw, Draw]:
    """Normals N(0, 1), anomalies N(apart, 1)."""
    return (lambda random, n: random.normal(0, 1, n)), (lambda random, n: random.normal(apart, 1, n))


def hidden(share: float) -> tuple[Draw, Draw]:
    """Well separated, but a share of the anomalies scores below every normal: a kind of defect that is not seen."""
    normals, anomalies = binormal(4)
    return normals, lambda random, n: np.where(random.random(n) < share, -9.0, anomalies(random, n))


def on_top(share: float) -> tuple[Draw, Draw]:
    """Well separated, but a share of the normals scores above every anomaly."""
    normals, anomalies = binormal(4)
    return (lambda random, n: np.where(random.random(n) < share, 99.0, normals(random, n))), anomalies


def rounded(apart: float) -> tuple[Draw, Draw]:
    """Whole numbers: nearly all scores tie."""
    normals, anomalies = binormal(apart)
    return (lambda random, n: normals(random, n).round()), (lambda random, n: anomalies(random, n).round())


def saturated(apart: float) -> tuple[Draw, Draw]:
    """Scores clipped to [-1, 1.5], as a clamped detector gives them."""
    normals, anomalies = binormal(apart)
    return (lambda random, n: normals(random, n).clip(-1, 1.5)), (lambda random, n: anomalies(random, n).clip(-1, 1.5))


SHAPES: dict[str, tuple[Draw, Draw]] = {
    "binormal 0.76": binormal(1.0),
    "binormal 0.98": binormal(3.0),
    "5 % hidden": hidden(0.05),
    "10 % hidden": hidden(0.1),
    "5 % of normals on top": on_top(0.05),
    "rounded": rounded(1.5),
    "saturated": saturated(1.5),
}

IMAGES = 6
"""Of each part."""
ALIKE = 0.7
"""The share of the variance of scores that all images of a part have in common."""


def views(shape: tuple[Draw, Draw], sizes: Callable[[np.random.Generator, int], NDArray[np.int64]]) -> DrawParts:
    """Parts of one class each. The first image is drawn from the shape, and the others are like it or drawn anew."""

    def draw(random: np.random.Generator, normals: int, anomalies: int) -> Parts:
        made = []
        for one, count in zip(shape, (normals, anomalies), strict=True):
            part = np.repeat(np.arange(count), sizes(random, count))
            same = random.random(len(part)) < ALIKE
            made.append((np.where(same, one(random, count)[part], one(random, len(part))), part))
        return Parts(made[0][0], made[1][0], made[0][1], normals + made[1][1])

    return draw


def copies(shape: tuple[Draw, Draw]) -> DrawParts:
    """Parts whose images all have the same score, such as a part as a whole that is not seen."""

    def draw(random: np.random.Generator, normals: int, anomalies: int) -> Parts:
        scores = [np.repeat(one(random, count), IMAGES) for one, count in zip(shape, (normals, anomalies), strict=True)]
        parts = np.repeat(np.arange(normals + anomalies), IMAGES)
        return Parts(scores[0], scores[1], parts[: len(scores[0])], parts[len(scores[0]) :])

    return draw


def defects_in_all(apart: float, opposite: float, sign: int) -> DrawParts:
    """Parts with four normal images and two of a defect, so much alike that all of one class have the same score.

    opposite: the share of parts in which the defect is not seen and the rest looks like one. sign: whether what a part
    adds to its normals is added to its defects too (1), or taken from them (-1).
    """

    def draw(random: np.random.Generator, parts: int, _: int) -> Parts:
        effect, wrong = random.normal(0, 1, parts), random.random(parts) < opposite
        normals, anomalies = np.where(wrong, 99.0, effect), np.where(wrong, -99.0, apart + sign * effect)
        number = np.arange(parts)
        return Parts(np.repeat(normals, 4), np.repeat(anomalies, 2), np.repeat(number, 4), np.repeat(number, 2))

    return draw


def equal(_: np.random.Generator, count: int) -> NDArray[np.int64]:
    """The same number of images of each part."""
    return np.full(count, IMAGES)


def unequal(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    """One image of most parts, many of a few."""
    return random.geometric(1 / IMAGES, count)


GROUPED: dict[str, DrawParts] = {
    "views, 0.76": views(binormal(1.0), equal),
    "views, 0.98": views(binormal(3.0), equal),
    "views, unequal": views(binormal(1.0), unequal),
    "views, 10 % hidden": views(hidden(0.1), unequal),
    "5 % of parts hidden": copies(hidden(0.05)),
    "10 % of parts hidden": copies(hidden(0.1)),
    "5 % of parts on top": copies(on_top(0.05)),
    "copies, rounded": copies(rounded(1.5)),
    "defects in all, alike": defects_in_all(1.0, 0.0, 1),
    "defects in all, opposed": defects_in_all(1.0, 0.0, -1),
    "5 % of parts wrong": defects_in_all(4.0, 0.05, 1),
}
