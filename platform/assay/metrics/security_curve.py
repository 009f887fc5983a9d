"""Summaries of a security curve: the area under AUROC over epsilon, and the epsilons that turn decisions.

An area of 1 is perfect at every epsilon up to the largest, 0.5 is chance at every one. It depends on the epsilons that
were audited; compare areas of the same suite.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.metrics import groups as grouping
from assay.metrics.certified import ATTACK
from assay.metrics.intervals import order_statistics
from assay.store import figures as figure_table
from assay.store.figures import Figure
from assay.store.score_matrix import CLEAN, WORST

METRIC = "curve_area"
Bound = Literal["value", "lower", "upper"]


def areas(metrics: pa.Table) -> pa.Table:
    """METRICS rows `curve_area`, epsilon the largest, of the curves `worst` and `certified`: each norm, regime, defect.

    Worst: trapezoids. Certified: what is proven at the right end of each piece, as a floor must not be drawn above what
    is proven. Interval: the areas under the bounds of the points. An area is a weighted mean of its points, and a mean
    of figures from the same samples deviates at most by the mean of their deviations (Minkowski's inequality): the
    interval is never too narrow where the points' are not.
    """
    points: dict[tuple[str, str, str, str], list[Figure]] = {}
    clean: dict[str, Figure] = {}
    for figure in figure_table.read(metrics):
        if figure.metric == "auroc" and figure.attack == CLEAN:
            clean[figure.defect] = figure
        elif figure.metric == "auroc" and figure.attack in (WORST, ATTACK) and figure.regime != "natural":
            points.setdefault((figure.attack, figure.norm, figure.regime, figure.defect), []).append(figure)
    rows = []
    for (_, _, _, defect), figures in sorted(points.items()):
        if defect in clean:
            curve = sorted([clean[defect]._replace(epsilon=0.0), *figures], key=lambda figure: figure.epsilon)
            value, lower, upper = (_area(curve, bound) for bound in ("value", "lower", "upper"))
            rows.append(curve[-1]._replace(metric=METRIC, value=value, lower=lower, upper=upper))
    return figure_table.table(rows)


def _area(curve: list[Figure], bound: Bound) -> float:
    """Under a bound of the points of a curve, over its length."""
    total = 0.0
    for left, right in pairwise(curve):
        low, high = getattr(left, bound), getattr(right, bound)
        total += (high if right.attack == ATTACK else (low + high) / 2) * (right.epsilon - left.epsilon)
    return total / curve[-1].epsilon


CUTS = (0.25, 0.5, 0.75)
CONFIDENCE = 0.95
"""Of the interval of each quartile."""


class Quartiles(NamedTuple):
    """Of the samples of one label that are decided rightly without an attack: by which epsilons how many are turned.

    Epsilons by which so many of them are decided wrongly; inf where fewer are up to `largest`, the largest tried.
    intervals: of each, the two epsilons among the samples between which it lies at CONFIDENCE, whatever their
    distribution; 0 and inf where there are too few samples to bound it.
    """

    norm: str
    label: int
    samples: int
    quarter: float
    half: float
    three_quarters: float
    largest: float
    intervals: tuple[tuple[float, float], ...]


def quartiles(minimal: pa.Table) -> list[Quartiles]:
    """Of MINIMAL, for every norm and label with a sample that is decided rightly without an attack."""
    columns = {name: minimal[name].to_numpy(zero_copy_only=False) for name in minimal.schema.names}
    groups = grouping.named(minimal)
    right = columns["clean_correct"].astype(bool)
    rows = []
    for norm, label in sorted(set(zip(columns["norm"][right], columns["label"][right].tolist(), strict=True))):
        at = right & (columns["norm"] == norm) & (columns["label"] == label)
        # A quantile that is one of the samples: between a number and infinity there is nothing to interpolate.
        epsilons = np.sort(columns["epsilon"][at])
        first, second, third = np.quantile(epsilons, CUTS, method="inverted_cdf").tolist()
        largest = float(columns["largest"][at].max())
        worth = grouping.number(None if groups is None else groups[at], len(epsilons))
        bounds = tuple(_between(epsilons, cut, worth) for cut in CUTS)
        rows.append(Quartiles(norm, label, len(epsilons), first, second, third, largest, bounds))
    return rows


def _between(ascending: NDArray[np.float64], cut: float, worth: float) -> tuple[float, float]:
    """The interval of a quantile of samples that are worth so many independent ones."""
    low, high = order_statistics(len(ascending), cut, CONFIDENCE, worth)
    return (0.0 if low is None else float(ascending[low]), math.inf if high is None else float(ascending[high]))
