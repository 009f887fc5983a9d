"""Closed-form intervals that keep an honest width at 0 and at 1, where a bootstrap interval has none."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

from scipy.special import betaincinv


class Interval(NamedTuple):
    """A figure and the bounds between which its true value lies with the stated confidence."""

    value: float
    lower: float
    upper: float


def clopper_pearson(hits: int, trials: int, confidence: float) -> tuple[float, float]:
    """Exact bounds of a rate seen as `hits` of `trials` (Clopper & Pearson 1934); 0 of n reaches to about 3.7 / n."""
    tail = (1 - confidence) / 2
    lower = float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
    upper = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return lower, upper


def wilson(rate: float, trials: int, confidence: float) -> tuple[float, float]:
    """Score bounds of a rate over `trials` (Wilson 1927).

    For an average precision over n anomalies it is the binomial interval of Boyd, Eng & Page (2013, section 3.2) in the
    form that does not collapse at 1.
    """
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (z2 * (rate * (1 - rate) / trials + z2 / (4 * trials**2))) ** 0.5 / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def newcombe(auroc: float, normals: int, anomalies: int, confidence: float) -> tuple[float, float]:
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
