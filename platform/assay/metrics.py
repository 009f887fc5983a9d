"""The figures of an audit: five metrics with intervals, clean, for every attack, and for the per-sample worst case.

Labels: 0 normal, 1 anomalous. Scores: higher is more anomalous. In the regime `evasion` anomalies are attacked and
normals are clean, in `false_alarm` the reverse, in `both` everything is attacked. A figure is over the samples that
were attacked; the counts beside it say how many.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from assay import bootstrap
from assay.errors import DataError
from assay.intervals import Interval, clopper_pearson, newcombe, wilson
from assay.tables import METRICS
from assay.worst_case import CLEAN, WORST, checked, column, strongest, worst_case

__all__ = [
    "auroc",
    "average_precision",
    "false_alarm_rate",
    "figures",
    "flagged",
    "fpr95",
    "miss_rate",
    "table",
    "worst_case",
]

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def flagged(scores: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Which scores the deployed detector calls anomalous: those **above** the threshold.

    A threshold is the highest score still taken for normal, so the q-quantile of validation normals flags at most
    1 - q of them.
    """
    return np.asarray(scores, dtype=np.float64) > threshold


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The chance that an anomaly scores higher than a normal, a tie counting one half. Raises DataError."""
    return _ranking(labels, scores)["auroc"]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean precision over the anomalies, in order of score; anomalous is positive. Raises DataError."""
    return _ranking(labels, scores)["average_precision"]


def fpr95(labels: ArrayLike, scores: ArrayLike) -> float:
    """False-alarm rate at the highest threshold that finds at least 95 % of the anomalies. Raises DataError."""
    return _ranking(labels, scores)["fpr95"]


def miss_rate(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Share of anomalies that are not flagged at the threshold. Raises DataError."""
    y, s = _checked(labels, scores, threshold)
    return float(np.mean(~flagged(s[y == 1], threshold)))


def false_alarm_rate(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Share of normals that are flagged at the threshold. Raises DataError."""
    y, s = _checked(labels, scores, threshold)
    return float(np.mean(flagged(s[y == 0], threshold)))


def figures(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """All five metrics of labels (N,) and scores (N,), each with its interval.

    miss_rate and false_alarm_rate: exact (Clopper-Pearson). auroc, average_precision and fpr95: the percentile interval
    of a stratified bootstrap, widened where a closed form reaches further (Newcombe; Wilson over the anomalies;
    Clopper-Pearson at the threshold of the figure), so that no figure, not even a perfect one, has an interval of
    width zero. The closed forms depend smoothly on the figure: being perfect never makes a bound worse.
    Raises DataError where a class is absent or a score is not a number.
    """
    y, s = _checked(labels, scores, threshold)
    anomalies = int(y.sum())
    normals = len(y) - anomalies
    value = _ranking(y, s)
    resampled = bootstrap.percentile_intervals(
        s[y == 0], s[y == 1], replicates=replicates, confidence=confidence, seed=seed
    )
    closed = {
        "auroc": newcombe(value["auroc"], normals, anomalies, confidence),
        "average_precision": wilson(value["average_precision"], anomalies, confidence),
        "fpr95": clopper_pearson(round(value["fpr95"] * normals), normals, confidence),
    }
    result = {}
    for name in bootstrap.METRICS:
        (low, high), (low_too, high_too) = resampled[name], closed[name]
        result[name] = Interval(value[name], min(low, low_too), max(high, high_too))
    missed, alarms = int((~flagged(s[y == 1], threshold)).sum()), int(flagged(s[y == 0], threshold).sum())
    result["miss_rate"] = Interval(missed / anomalies, *clopper_pearson(missed, anomalies, confidence))
    result["false_alarm_rate"] = Interval(alarms / normals, *clopper_pearson(alarms, normals, confidence))
    return result


def table(
    scores: pa.Table, *, threshold: float, replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> pa.Table:
    """METRICS of one audited model from its SCORES.

    For clean; for every attack x norm x epsilon; for `worst`, the per-sample worst case (see `worst_case`); each in the
    regimes whose samples were attacked. Clean, and worst in `evasion` and `both`, also for each kind of defect against
    all normals, if there are several. Raises DataError.
    """
    rows: list[dict[str, Any]] = []
    options: dict[str, Any] = {"replicates": replicates, "confidence": confidence, "seed": seed}
    for where, labels, values, defects in _cases(checked(scores)):
        kinds = sorted(set(defects[labels == 1])) if where["attack"] in (CLEAN, WORST) else []
        split = len(kinds) > 1 and where["regime"] != "false_alarm"
        for kind in ["all", *kinds] if split else ["all"]:
            chosen = (labels == 0) | (defects == kind) | (kind == "all")
            y, s = labels[chosen], values[chosen]
            counts = {"confidence": confidence, "normals": int((y == 0).sum()), "anomalies": int((y == 1).sum())}
            for metric, interval in figures(y, s, threshold=threshold, **options).items():
                rows.append({**where, "defect": str(kind), "metric": metric, **interval._asdict(), **counts})
    return pa.Table.from_pylist(rows, schema=METRICS)


def _cases(scores: pa.Table) -> Iterator[tuple[dict[str, Any], Labels, Floats, NDArray[Any]]]:
    """(what was done to whom, labels, scores, defects) of every line of the table."""
    names, first = np.unique(column(scores, "sample"), return_index=True)
    labels = column(scores, "label")[first].astype(np.int64)
    defects, clean = column(scores, "defect")[first], column(scores, "clean_score")[first]
    yield {"attack": CLEAN, "norm": "", "epsilon": 0.0, "regime": ""}, labels, clean, defects

    worst = worst_case(scores)
    worst = worst.set_column(worst.schema.get_field_index("attack"), "attack", pa.repeat(WORST, len(worst)))
    for table in (scores, worst):
        attacks, norms, epsilons = (column(table, name) for name in ("attack", "norm", "epsilon"))
        for attack, norm, epsilon in sorted(set(zip(attacks, norms, epsilons, strict=True))):
            rows = strongest(table, np.flatnonzero((attacks == attack) & (norms == norm) & (epsilons == epsilon)))
            reached = np.searchsorted(names, column(table, "sample")[rows])
            moved = clean.copy()
            moved[reached] = column(table, "adversarial_score")[rows]
            hit = np.zeros(len(names), dtype=bool)
            hit[reached] = True
            for regime, targets in (("evasion", labels == 1), ("false_alarm", labels == 0), ("both", labels >= 0)):
                if len(np.unique(labels[hit & targets])) == len(np.unique(labels[targets])):
                    kept = hit | ~targets
                    values = np.where(targets, moved, clean)[kept]
                    where = {"attack": str(attack), "norm": str(norm), "epsilon": float(epsilon), "regime": regime}
                    yield where, labels[kept], values, defects[kept]


def _checked(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.0) -> tuple[Labels, Floats]:
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise DataError(f"labels {y.shape} and scores {s.shape} must be two lists of the same length")
    if not np.isin(y, (0, 1)).all():
        raise DataError("labels must be 0 (normal) or 1 (anomalous)")
    if np.isnan(s).any():
        raise DataError(f"{int(np.isnan(s).sum())} of {len(s)} scores are NaN; the detector is broken for those images")
    if not np.isfinite(threshold):
        raise DataError(f"the threshold is {threshold}; it must be a finite number")
    if len(np.unique(y)) < 2:
        there = "only anomalies" if y.any() else "only normals" if len(y) else "no samples"
        raise DataError(f"the metrics need normals and anomalies; there are {there}")
    return y.astype(np.int64), s


def _ranking(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    y, s = _checked(labels, scores)
    return {name: float(value[0]) for name, value in bootstrap.ranking(s[y == 0], s[y == 1]).items()}
