"""The figures of an audit under corruption: each at every severity, their mean, and whether severities are in order."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.errors import DataError
from assay.metrics import bootstrap, detection, intervals
from assay.metrics import groups as grouping
from assay.metrics.intervals import Interval, newcombe, wilson
from assay.store import figures as figure_table
from assay.store.figures import Figure
from assay.store.score_matrix import ALL

MEAN = "corruptions"
"""Name, in place of a corruption's, of the figures that are the mean over all of them."""

CHANCE = 0.01
"""The chance that `monotone` finds a fall, anywhere in an audit, where there is only noise."""

FLAT = 0.1
"""Share of an effect by which a more severe corruption may fall short: scores saturate, then turn a little."""

SAME = 1e-3
"""Share of the standard deviation of the clean scores by which arithmetic may move a score."""


class Monotone(NamedTuple):
    """Whether more severe corruptions move scores further, a sentence of evidence, and the largest fall / allowed."""

    passed: bool
    evidence: str
    fall: float


class Cube(NamedTuple):
    """The scores of an audit under corruption, sorted: severities (S,), kinds (K,), samples (N,) and their groups."""

    severities: NDArray[np.int64]
    kinds: list[str]
    labels: NDArray[np.int64]
    clean: NDArray[np.float64]
    scores: NDArray[np.float64]  # (S, K, N)
    groups: NDArray[np.object_] | None = None


def cube(corrupted: pa.Table | Mapping[str, Any]) -> Cube:
    """The columns of CORRUPTED as a cube; raises DataError where a sample lacks a corruption or a severity."""
    columns = {name: np.asarray(corrupted[name]) for name in ("severity", "corruption", "sample", "label")}
    severities, severity = np.unique(columns["severity"].astype(np.int64), return_inverse=True)
    kinds, kind = np.unique(columns["corruption"].astype(np.str_), return_inverse=True)
    samples, sample = np.unique(columns["sample"].astype(np.str_), return_inverse=True)
    shape = (len(severities), len(kinds), len(samples))
    place = np.ravel_multi_index((severity, kind, sample), shape)
    if not np.array_equal(np.sort(place), np.arange(np.prod(shape))):
        raise DataError(
            "not every sample has one score for each corruption and severity; run the same audit again, which makes "
            "what is missing"
        )
    order = np.argsort(place)
    clean, scores = (np.asarray(corrupted[name], dtype=np.float64)[order] for name in ("clean_score", "score"))
    labels = columns["label"][order][: len(samples)].astype(np.int64)
    names = grouping.named(corrupted)
    groups = None if names is None else names[order][: len(samples)]
    return Cube(severities, kinds.tolist(), labels, clean[: len(samples)], scores.reshape(shape), groups)


def figures(
    corrupted: pa.Table, *, threshold: float, replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> pa.Table:
    """METRICS of every corruption at every severity, and of `corruptions`, the mean over all of them.

    norm: corruption. epsilon: the severity. regime: natural. Raises DataError.
    """
    grid = cube(corrupted)
    held = grouping.of(grid.labels, grid.groups)
    samples = int((grid.labels == 0).sum()), int((grid.labels == 1).sum())
    counts = *samples, *grouping.counts(*samples, held)
    made: list[Figure] = []
    for severity, scores in zip(grid.severities, grid.scores, strict=True):
        of_kinds = [
            detection.figures(
                grid.labels,
                of_kind,
                threshold=threshold,
                groups=grid.groups,
                replicates=replicates,
                confidence=confidence,
                seed=seed,
            )
            for of_kind in scores
        ]
        mean = _mean_figures(
            grid.labels,
            scores,
            of_kinds,
            held,
            threshold=threshold,
            replicates=replicates,
            confidence=confidence,
            seed=seed,
        )
        made += [
            Figure(name, "corruption", float(severity), "natural", ALL, metric, *interval, confidence, *counts)
            for name, intervals in zip([*grid.kinds, MEAN], [*of_kinds, mean], strict=True)
            for metric, interval in intervals.items()
        ]
    return figure_table.table(made)


def _mean_figures(
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    of_kinds: list[dict[str, Interval]],
    groups: grouping.Groups | None,
    *,
    threshold: float,
    replicates: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """The mean of each figure over the kinds, scores (K, N), with an interval.

    Every resample of the images, or of their groups, gives one mean; the percentile interval of those is widened where
    the closed form for one figure of that value reaches further, so that perfect figures have a width too.
    """
    normals, anomalies = scores[:, labels == 0], scores[:, labels == 1]
    wrong = {
        "miss_rate": (1, ~detection.flagged(anomalies, threshold)),
        "false_alarm_rate": (0, detection.flagged(normals, threshold)),
    }
    worth = grouping.worth(normals.shape[1], anomalies.shape[1], groups)
    drawn: dict[str, list[NDArray[np.float64]]] = {metric: [] for metric in of_kinds[0]}
    for block in bootstrap.blocks(replicates, len(labels), seed):
        counts = block.counts(normals.shape[1], anomalies.shape[1], groups)
        ranked = [bootstrap.ranking(*pair, counts) for pair in zip(normals, anomalies, strict=True)]
        for metric in bootstrap.METRICS:
            drawn[metric].append(np.mean([one[metric] for one in ranked], axis=0))
        for metric, (label, errors) in wrong.items():
            drawn[metric].append(counts[label] @ errors.mean(axis=0) / counts[label].sum(axis=1, dtype=np.int64))
    result = {}
    for metric, values in drawn.items():
        mean = float(np.mean([of_kind[metric].value for of_kind in of_kinds]))
        bounds = [bootstrap.percentiles(np.concatenate(values), confidence)]
        if metric in ("fpr95", "average_precision"):  # their closed forms need the scores, not the figure alone
            kinds = [of_kind[metric] for of_kind in of_kinds]
            bounds.append((float(np.mean([k.lower for k in kinds])), float(np.mean([k.upper for k in kinds]))))
        else:
            few = worth.normals if metric == "false_alarm_rate" else worth.anomalies
            bounds.append(wilson(mean, few, confidence))
        if metric == "auroc":
            bounds.append(intervals.auroc(mean, *worth.paired, confidence))
            bounds.append(newcombe(mean, *worth.paired, confidence))
        result[metric] = Interval(mean, min(low for low, _ in bounds), max(high for _, high in bounds))
    return result


def monotone(corrupted: pa.Table | Mapping[str, Any]) -> Monotone:
    """Whether each corruption moves scores further the more severe it is.

    Compares the mean over the samples of how far a score moved, from each severity to the next. A fall by a tenth
    passes, plus what noise between the samples explains, with one chance in a hundred over all comparisons.
    """
    grid = cube(corrupted)
    moved = np.abs(grid.scores - grid.clean)
    steps = np.diff(moved, axis=0)  # (S - 1, K, N)
    if not steps.size or len(grid.labels) < 2:
        return Monotone(True, "there is one severity, so there is nothing to compare", 0.0)
    deviations = NormalDist().inv_cdf(1 - CHANCE / (steps.shape[0] * steps.shape[1]))
    error = steps.std(axis=2, ddof=1) / len(grid.labels) ** 0.5
    effect = moved.mean(axis=2)
    allowed = FLAT * effect[:-1] + deviations * error + SAME * grid.clean.std()
    ratio = -steps.mean(axis=2) / np.maximum(allowed, np.finfo(float).tiny)
    at, kind = np.unravel_index(ratio.argmax(), ratio.shape)
    value = float(max(0.0, ratio.max()))
    before, after = effect[at : at + 2, kind]
    evidence = (
        f"{int((ratio > 1).sum())} of {ratio.size} steps in severity lose more than a tenth of the effect and noise; "
        f"nearest to it {grid.kinds[kind]} from {grid.severities[at]} to {grid.severities[at + 1]}: mean "
        f"move {before:.3g}, then {after:.3g}"
    )
    return Monotone(value <= 1, evidence, value)
