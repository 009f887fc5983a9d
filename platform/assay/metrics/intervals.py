"""Closed-form intervals that keep an honest width at 0 and at 1, where a bootstrap interval has none.

They are of independent samples. Where samples are of groups, the numbers of them are what these are worth
(`groups.Worth`), and need not be whole: an effective sample size (Korn & Graubard 1998).

SciPy is imported where it is used: it takes a quarter of a second, which every worker of a sweep would pay.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.metrics.groups import Worth

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A figure and the bounds between which its true value lies with the stated confidence."""

    value: float
    lower: float
    upper: float


def clopper_pearson(hits: float, trials: float, confidence: float) -> tuple[float, float]:
    """Exact bounds of a rate seen as `hits` of `trials` (Clopper & Pearson 1934); 0 of n reaches to about 3.7 / n."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    lower = float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
    upper = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return lower, upper


def rate(hits: int, trials: int, confidence: float, worth: float) -> tuple[float, float]:
    """Clopper and Pearson's bounds of a rate over samples that are worth so many independent ones."""
    return clopper_pearson(hits * worth / trials, worth, confidence)


def wilson(rate: float, trials: float, confidence: float) -> tuple[float, float]:
    """Score bounds of a rate over `trials` (Wilson 1927).

    For an average precision over n anomalies it is the binomial interval of Boyd, Eng & Page (2013, section 3.2) in the
    form that does not collapse at 1.
    """
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (z2 * (rate * (1 - rate) / trials + z2 / (4 * trials**2))) ** 0.5 / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def newcombe(auroc: float, normals: float, anomalies: float, confidence: float) -> tuple[float, float]:
    """Bounds of an AUROC over so many normals and anomalies: method 5 of Newcombe (2006, part 2).

    The true values A that lie within z standard errors of the figure, with the standard error of Hanley & McNeil (1982)
    taken at A, not at the figure: at AUROC 1 it is not 0.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    pairs, spare = normals * anomalies, (normals + anomalies) / 2 - 1

    def error(a: float) -> float:
        variance = a * (1 - a) * (1 + spare * ((1 - a) / (2 - a) + a / (1 + a))) / pairs
        return float(max(variance, 0.0) ** 0.5)

    def lower(figure: float) -> float:
        low, high = 0.0, figure
        for _ in range(50):  # bisection down to double precision
            middle = (low + high) / 2
            low, high = (middle, high) if figure - middle > z * error(middle) else (low, middle)
        return low

    return lower(auroc), 1 - lower(1 - auroc)  # the standard error is the same at A and 1 - A


def average_precision(
    normals: Floats,
    anomalies: Floats,
    confidence: float,
    prevalence: float | None = None,
    worth: Worth | None = None,
) -> tuple[float, float]:
    """Bounds of an average precision, whose error has two sources that do not see each other.

    The normals: the false-alarm rate at every threshold is replaced by its Clopper-Pearson bound, all on one side at
    once. It counts that no normal of a few was seen above the anomalies, and yet one in twenty may lie there. The
    anomalies: Wilson's interval over them (Boyd, Eng & Page 2013, section 3.2). The two distances from the figure are
    added in squares (MOVER, Zou & Donner 2008), and in part linearly where both classes may fail together.
    """
    from scipy.special import betaincinv

    worth = worth or Worth(len(normals), len(anomalies))
    count, tail = len(normals), (1 - confidence) / 2
    levels, weights = np.unique(-anomalies, return_counts=True)
    recall = np.cumsum(weights) / len(anomalies)
    alarms = np.searchsorted(np.sort(-normals), levels, side="right")
    share = len(anomalies) / (len(anomalies) + count) if prevalence is None else prevalence

    def figure(rate: Floats) -> float:
        return float(np.average(share * recall / (share * recall + (1 - share) * rate), weights=weights))

    value = figure(alarms / count)
    seen = alarms * worth.normals / count
    some, left = np.maximum(seen, worth.normals / count), np.maximum(worth.normals - seen, worth.normals / count)
    most = np.where(alarms < count, betaincinv(seen + 1, left, 1 - tail), 1.0)
    least = np.where(alarms > 0, betaincinv(some, worth.normals - seen + 1, tail), 0.0)
    low, high = wilson(value, worth.anomalies, confidence)
    below = _added(value - figure(most), value - low, worth.together)
    above = _added(figure(least) - value, high - value, worth.together)
    return max(0.0, value - below), min(1.0, value + above)


def _added(one: float, other: float, together: float) -> float:
    """The distance that two errors come to whose correlation is at most `together`."""
    return float((one**2 + other**2 + 2 * together * one * other) ** 0.5)


def auroc(figure: float, normals: float, anomalies: float, confidence: float) -> tuple[float, float]:
    """Bounds of an AUROC in which a few samples may be wholly misranked.

    A mean of one number in [0, 1] per sample has at most the variance of a rate, so Wilson's interval over the smaller
    class holds whatever the shape of the scores. A rare kind of defect that scores below every normal is such a shape;
    Hanley and McNeil's model does not allow for it.
    """
    return wilson(figure, min(normals, anomalies), confidence)


def order_statistics(
    count: int, quantile: float, confidence: float, worth: float | None = None
) -> tuple[int | None, int | None]:
    """The places, from 0 in ascending order, of the samples between which the true quantile lies; None where none does.

    Distribution-free (Clopper & Pearson's binomial argument; David & Nagaraja 2003, section 7.1). worth: how many
    independent samples the `count` are worth; the places are then those of as many shares of them.
    """
    from scipy.stats import binom

    tail, known = (1 - confidence) / 2, count if worth is None else int(worth)
    below = int(binom.ppf(tail, known, quantile))  # the least k with P(Bin <= k) >= tail
    low = below if binom.cdf(below, known, quantile) <= tail else below - 1
    above = int(binom.isf(tail, known, quantile))  # the least k with P(Bin > k) <= tail
    first, last = low * count // known, -(-(above + 1) * count // known) - 1
    return (first if low >= 0 else None), (last if above < known else None)


def fpr95(normals: Floats, anomalies: Floats, confidence: float, worth: Worth | None = None) -> tuple[float, float]:
    """Bounds of the false-alarm rate at the threshold that finds 95 % of the anomalies.

    Both are uncertain: where the threshold lies (an order statistic of the anomalies, at half the error), and how many
    normals lie above it (Clopper-Pearson, at the other half). With fewer than about 90 anomalies at 95 % confidence no
    sample bounds the threshold from below, and the upper bound is 1.
    """
    worth = worth or Worth(len(normals), len(anomalies))
    half = (1 + confidence) / 2
    ascending = np.sort(anomalies)
    low, high = order_statistics(len(anomalies), 0.05, half, worth.anomalies)
    upper = 1.0
    if low is not None:
        upper = rate(int((normals >= ascending[low]).sum()), len(normals), half, worth.normals)[1]
    lower = 0.0
    if high is not None:
        lower = rate(int((normals >= ascending[high]).sum()), len(normals), half, worth.normals)[0]
    return lower, upper
