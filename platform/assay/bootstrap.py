"""Ranking metrics over a whole matrix of sample weights at once, and the stratified bootstrap made of them.

The scores are sorted once; a resample is a column of weights (how often each sample was drawn), and every metric of all
resamples is read off cumulated weights. Scores that tie are taken together: no threshold can come between them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METRICS = ("auroc", "average_precision", "fpr95")
BLOCK = 2_000_000
"""The most weights held at a time."""


def ranking(normals: Floats, anomalies: Floats, drawn: tuple[Floats, Floats] | None = None) -> dict[str, Floats]:
    """The METRICS of each of R weightings of the scores of normals (N,) and anomalies (A,): (R,) each.

    drawn: how often each was drawn, whole numbers (N, R) and (A, R); without it, each once and R = 1.
    Positive is anomalous; a tie counts one half in the AUROC; fpr95 is the share of normals at or above the highest
    threshold that reaches 95 % of the anomalies.
    """
    normal_weights, weights = drawn or (np.ones((len(normals), 1)), np.ones((len(anomalies), 1)))
    normal_order, order = np.argsort(-normals), np.argsort(-anomalies)
    down_normals, down = -normals[normal_order], -anomalies[order]  # ascending, as searchsorted wants them
    weights = weights[order]
    found = np.cumsum(weights, axis=0)
    alarms = np.zeros((len(normals) + 1, weights.shape[1]))
    np.cumsum(normal_weights[normal_order], axis=0, out=alarms[1:])
    total, normal_total = found[-1], alarms[-1]

    found_by = found[np.searchsorted(down, down, side="right") - 1]  # anomalies at or above each anomaly
    alarms_by = alarms[np.searchsorted(down_normals, down, side="right")]  # normals at or above each anomaly
    alarms_before = alarms[np.searchsorted(down_normals, down, side="left")]  # normals above each anomaly
    precision = found_by / np.maximum(found_by + alarms_by, 1)  # where nothing was drawn, nothing is found either
    first = np.argmax(20 * found_by >= 19 * total, axis=0)  # whole numbers: exact at 95 %
    ahead = normal_total - (weights * (alarms_by + alarms_before)).sum(axis=0) / (2 * total)
    return {
        "auroc": ahead / normal_total,
        "average_precision": (weights * precision).sum(axis=0) / total,
        "fpr95": alarms_by[first, np.arange(weights.shape[1])] / normal_total,
    }


def stratified(normals: int, anomalies: int, replicates: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Blocks of weights (normals, r), (anomalies, r), `replicates` columns in all: each class redrawn from itself."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // (normals + anomalies))
    for start in range(0, replicates, block):
        columns = min(block, replicates - start)
        yield _redrawn(normals, columns, rng), _redrawn(anomalies, columns, rng)


def percentile_intervals(
    normals: Floats, anomalies: Floats, *, replicates: int, confidence: float, seed: int
) -> dict[str, tuple[float, float]]:
    """(lower, upper) of each of METRICS: percentile interval of a stratified bootstrap (Efron & Tibshirani 1993, 13).

    It has no width where the classes are perfectly separated; `intervals` has bounds that stay honest there.
    """
    draws = stratified(len(normals), len(anomalies), replicates, seed)
    blocks = [ranking(normals, anomalies, drawn) for drawn in draws]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    bounds = {name: np.quantile(np.concatenate([block[name] for block in blocks]), tails) for name in METRICS}
    return {name: (float(lower), float(upper)) for name, (lower, upper) in bounds.items()}


def _redrawn(count: int, columns: int, rng: np.random.Generator) -> Floats:
    drawn = rng.integers(count, size=(count, columns)) * columns + np.arange(columns)
    return np.bincount(drawn.ravel(), minlength=count * columns).reshape(count, columns).astype(np.float64)
