"""Whether two measurements of the same models agree: the difference of two figures, the rank correlation of many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from assay.metrics.intervals import Interval

CONFIDENCE = 0.95
DRAWS = 2000
FEWEST = 3
"""Models that a rank correlation needs."""

Floats = NDArray[np.float64]


def difference(one: Interval, other: Interval) -> Interval:
    """One less the other, of two independent figures, by the method MOVER (Zou & Donner 2008)."""
    value = one.value - other.value
    down = np.hypot(one.value - one.lower, other.upper - other.value)
    up = np.hypot(one.upper - one.value, other.value - other.lower)
    return Interval(value, value - float(down), value + float(up))


def rank_correlation(columns: Mapping[str, NDArray[Any]], metric: str, *, seed: int = 0) -> Interval | None:
    """Spearman's, of cheap and audited figures over the models, or None for fewer than three that have both.

    Interval: the models are drawn anew, and each figure anew from a normal distribution as wide as its own interval;
    among few models the second is what keeps a perfect order from looking certain.
    """
    rows = np.flatnonzero((columns["metric"] == metric) & np.isfinite(columns["audited"]))
    if len(rows) < FEWEST:
        return None
    random = np.random.default_rng(seed)
    at = random.integers(len(rows), size=(DRAWS, len(rows)))
    pair = []
    for name in ("cheap", "audited"):
        value, lower, upper = (
            columns[key][rows].astype(np.float64) for key in (name, f"{name}_lower", f"{name}_upper")
        )
        pair.append(value[at] + (upper - lower)[at] / (2 * 1.96) * random.standard_normal(at.shape))
    low, high = np.quantile(_spearman(*pair), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    seen = float(_spearman(*(columns[name][rows][None].astype(np.float64) for name in ("cheap", "audited")))[0])
    return Interval(seen, min(float(low), seen), max(float(high), seen))


def _spearman(a: Floats, b: Floats) -> Floats:
    """(R,) of values (R, N); 0 where one of the two is the same for all."""
    ranks = [rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (a, b)]
    length = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    product = (ranks[0] * ranks[1]).sum(axis=1)
    found: Floats = np.divide(product, length, out=np.zeros(len(a)), where=length > 0)
    return found
