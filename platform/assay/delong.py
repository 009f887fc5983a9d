"""Intervals of an AUROC, of its difference between detectors on the same images, and of sums of both, in closed form.

An AUROC is a mean over samples, so its error is that of a mean: each sample's influence is how far the share of the
other class that it beats lies from the AUROC. Influences add up, so those of two detectors on the same images subtract,
and those of a group are summed before they are squared. Scores (N,): higher is more anomalous. Labels: 0, 1.
Sources: DeLong, DeLong & Clarke-Pearson 1988; groups: Obuchowski 1997, "Nonparametric Analysis of Clustered ROC Curve
Data".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Estimate(NamedTuple):
    """A figure and the influence (N,) of every sample on it."""

    value: float
    influence: NDArray[np.float64]

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two figures of the same samples."""
        return Estimate(self.value - other.value, self.influence - other.influence)


def auroc(labels: ArrayLike, scores: ArrayLike, groups: Sequence[str] | None = None) -> Estimate:
    """The AUROC of scores, a tie counting one half. groups: the physical part of each sample; None: each its own."""
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    influence = np.empty(len(s))
    anomalies, normals = s[y == 1], s[y == 0]
    beaten, beats = _beaten(anomalies, normals), 1 - _beaten(normals, anomalies)
    value = float(beaten.mean())
    for label, share in ((1, beaten), (0, beats)):
        of_class = y == label
        parts = len({group for group, there in zip(groups, of_class, strict=True) if there}) if groups else len(share)
        influence[of_class] = (share - value) / len(share) * (parts / max(1, parts - 1)) ** 0.5
    return Estimate(value, influence)


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of several figures of the same samples."""
    values, influences = zip(*estimates, strict=True)
    return Estimate(float(np.mean(values)), np.mean(influences, axis=0))


def pooled(estimates: Sequence[Estimate], ids: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """The mean of figures of several splits of the same images, and its bounds at 95 %; ids: the images of each split.

    An image that is tested in several splits counts as one image, with all its influences added up, so splits that
    share images are not taken for independent ones. The bounds hold for the detectors as they were trained.
    """
    influences = np.concatenate([one.influence for one in estimates]) / len(estimates)
    together = Estimate(float(np.mean([one.value for one in estimates])), influences)
    return together.value, *interval(together, [name for names in ids for name in names])


def interval(estimate: Estimate, groups: Sequence[str] | None = None, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a figure; one of a difference that holds 0 means that the two cannot be told apart.

    By Student's t with as many degrees of freedom as there are samples, or groups, less one of each class.
    """
    from scipy.special import stdtrit  # here for the reason given in metrics/intervals.py

    count = len(estimate.influence) if groups is None else len(set(groups))
    half = float(stdtrit(max(1, count - 2), (1 + confidence) / 2)) * variance(estimate, groups) ** 0.5
    return estimate.value - half, estimate.value + half


def variance(estimate: Estimate, groups: Sequence[str] | None = None) -> float:
    """The variance of a figure; images of a group count as one."""
    sums = estimate.influence
    if groups is not None:
        codes = np.unique(list(groups), return_inverse=True)[1]
        sums = np.asarray(np.bincount(codes, weights=sums), dtype=np.float64)
    return float(np.sum(sums**2))


def _beaten(these: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the others below each of these, a tie counting one half."""
    ascending = np.sort(others)
    below, by = (np.searchsorted(ascending, these, side=side) for side in ("left", "right"))
    return np.asarray((below + by) / (2 * len(others)), dtype=np.float64)
