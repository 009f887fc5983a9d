"""Detectors compared over datasets: paired differences with a correction for how many there are, and mean ranks.

Two detectors are compared on the same images: the influences of a dataset's images (DeLong) are averaged over the
seeds and subtracted. What the seeds of training add is the variance of the difference between seeds over their number.
Datasets are independent. P-values are corrected by Holm's method over all pairs of a metric. Ranks: Friedman's test,
with the critical difference of Nemenyi (Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets").
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy import stats

from assay import delong
from assay.store.best_trial import COLUMNS
from assay.studies.results import Result

CONFIDENCE = 0.95
Key = tuple[str, str]
"""Detector and dataset."""


class Difference(NamedTuple):
    """`a` less `b` in a metric, the mean over the datasets that both have. p: corrected; lower, upper: for it alone."""

    metric: str
    a: str
    b: str
    datasets: int
    value: float
    lower: float
    upper: float
    p: float


class Ranks(NamedTuple):
    """Mean rank of each detector in a metric (1 is best) over datasets, and the difference from which two differ."""

    metric: str
    mean: Mapping[str, float]
    datasets: int
    p: float
    critical: float


def means(results: Sequence[Result], metric: str) -> dict[Key, float]:
    """Detector and dataset -> the mean over the seeds that have a figure; pairs without any are left out."""
    found: dict[Key, list[float]] = {}
    for result in results:
        if metric in result.values:
            found.setdefault((result.cell.detector, result.cell.dataset), []).append(result.values[metric])
    return {key: float(np.mean(values)) for key, values in found.items()}


def differences(results: Sequence[Result], metric: str) -> list[Difference]:
    """Every pair of detectors, the larger difference first; those without a dataset in common are left out."""
    if metric not in COLUMNS:
        return []
    cells = {(r.cell.detector, r.cell.dataset, r.cell.seed): r for r in results if r.scores is not None}
    detectors = list(dict.fromkeys(result.cell.detector for result in results))
    found = [pair for a, b in itertools.combinations(detectors, 2) if (pair := _pair(cells, a, b, metric)) is not None]
    corrected = holm([pair.p for pair in found])
    whole = [pair._replace(p=p) for pair, p in zip(found, corrected, strict=True)]
    return sorted(whole, key=lambda pair: -abs(pair.value))


def _pair(cells: Mapping[tuple[str, str, int], Result], a: str, b: str, metric: str) -> Difference | None:
    values, variances = [], []
    for dataset in dict.fromkeys(dataset for _, dataset, _ in cells):
        seeds = [seed for d, one, seed in cells if d == a and one == dataset and (b, dataset, seed) in cells]
        pairs = [(cells[a, dataset, seed].scores, cells[b, dataset, seed].scores) for seed in seeds]
        estimates = [
            delong.auroc(x.labels, x.columns[COLUMNS[metric]], x.groups)
            - delong.auroc(y.labels, y.columns[COLUMNS[metric]], y.groups)
            for x, y in pairs
            if x is not None and y is not None and x.samples == y.samples
        ]
        if not estimates:
            continue
        first = pairs[0][0]
        alike = all(x is not None and first is not None and x.samples == first.samples for x, _ in pairs)
        groups = first.groups if first is not None else None
        one = delong.mean(estimates) if alike else estimates[0]
        spread = float(np.var([e.value for e in estimates], ddof=1)) / len(estimates) if len(estimates) > 1 else 0.0
        values.append(one.value)
        variances.append(delong.variance(one, groups) + spread)
    if not values:
        return None
    value, error = float(np.mean(values)), float(np.sum(variances)) ** 0.5 / len(values)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    p = 2 * NormalDist().cdf(-abs(value) / error) if error else float(value == 0)
    return Difference(metric, a, b, len(values), value, value - half, value + half, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given (Holm 1979)."""
    order, corrected, highest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 0.0
    for place, at in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        corrected[at] = highest
    return corrected


def ranks(results: Sequence[Result], metric: str, direction: str) -> Ranks | None:
    """Ranks over the datasets for which every detector has a figure; None for fewer than two of either."""
    found, sign = means(results, metric), -1 if direction == "max" else 1
    detectors = list(dict.fromkeys(result.cell.detector for result in results))
    datasets = list(dict.fromkeys(result.cell.dataset for result in results))
    whole = [dataset for dataset in datasets if all((one, dataset) in found for one in detectors)]
    if len(whole) < 2 or len(detectors) < 2:
        return None
    matrix = np.array([[sign * found[one, dataset] for one in detectors] for dataset in whole])
    ranked = stats.rankdata(matrix, axis=1)
    k, n = len(detectors), len(whole)
    p = float(stats.friedmanchisquare(*ranked.T).pvalue) if k > 2 else float("nan")
    q = float(stats.studentized_range.ppf(CONFIDENCE, k, np.inf)) / 2**0.5
    return Ranks(
        metric,
        dict(zip(detectors, ranked.mean(axis=0).tolist(), strict=True)),
        n,
        p,
        q * (k * (k + 1) / (6 * n)) ** 0.5,
    )
