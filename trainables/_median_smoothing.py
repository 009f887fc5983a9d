"""Bounds on the median of a score under Gaussian noise, in any l2 ball around the scored image.

Source: Chiang et al. 2020 ("Detection as Regression: Certified Object Detection by Median Smoothing", section 3): if
the image moves by at most r, the p-quantile of the score under noise of deviation sigma stays between the quantiles of
levels Phi(Phi^-1(p) -+ r / sigma) at the image itself. For p = 1/2 these are Phi(-+ r / sigma).

A score is not that median but the median of a few draws. It lies at a random level p, a Beta variable whatever the
scores are (`levels_of_median`). The quantiles are estimated by order statistics with exact binomial bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import (
    betainc,
    betaincc,
    betainccinv,
    betaincinv,
    ndtr,
    ndtri,
)

Floats = NDArray[np.float64]


def middle(draws: int) -> int:
    """Index of the median among `draws` sorted values, from 0: the lower of the two if their number is even."""
    return (draws - 1) // 2


def levels_of_median(draws: int, failure: float) -> tuple[float, float]:
    """Levels that the median of `draws` independent draws falls below, and above, with probability `failure` each.

    The k-th smallest of n draws lies at a level that is Beta(k, n - k + 1) distributed.
    """
    k = middle(draws) + 1
    return float(betaincinv(k, draws - k + 1, failure)), float(betainccinv(k, draws - k + 1, failure))


def bounds(scores: Floats, reaches: Floats, levels: tuple[float, float], failure: float) -> tuple[Floats, Floats]:
    """Bounds (B, R), (B, R) of the quantiles of both levels when an image moves by up to `reaches` (R,) deviations.

    scores: (B, M) of each image under M fresh draws. failure: of each single bound. -inf or inf if M draws are too few
    for a bound at that failure.
    """
    count = scores.shape[1]
    ranked = np.pad(np.sort(scores, axis=1), ((0, 0), (1, 1)))
    ranked[:, 0], ranked[:, -1] = -np.inf, np.inf
    k = np.arange(1, count + 1)
    low, high = (ndtr(ndtri(level) + way * reaches) for level, way in zip(levels, (-1, 1), strict=True))
    # The k-th smallest lies above the quantile of a level p with probability betaincc(k, M - k + 1, p), and below it
    # with the complement: the innermost ranks for which that stays within `failure`.
    below = [int((betaincc(k, count - k + 1, level) <= failure).sum()) for level in low]
    above = [int((betainc(k, count - k + 1, level) > failure).sum()) + 1 for level in high]
    return ranked[:, below], ranked[:, above]
