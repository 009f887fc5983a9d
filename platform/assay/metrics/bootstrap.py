"""Ranking metrics over many resamples at once, and the stratified bootstrap made of them.

The scores are sorted once; a resample is a row of counts (how often each sample was drawn), and every metric of all
resamples is read off cumulated counts. Scores that tie are taken together: no threshold can come between them.
Samples of a group are drawn together (Davison & Hinkley 1997, section 3.8). All figures of an audit see the same
resamples, so the difference of two figures has a distribution too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.metrics.groups import Groups

Floats = NDArray[np.float64]
Counts = NDArray[np.uint8]
Distribution = dict[str, Floats]
"""By metric, its value in every resample (R,)."""

METRICS = ("auroc", "average_precision", "fpr95")
IN_A_TAIL = 25
"""Resamples beyond each bound: what 1000 have at 95 %."""
FEWEST, MOST = 1000, 20_000
"""Resamples; where 20,000 leave fewer in a tail, the closed forms that widen every interval still say enough."""
HELD = 2**26
"""The most counts held in memory at a time."""
CACHED = 2**15
"""How many counts are processed at a time, so that they stay in the processor's cache."""
DRAWN = 2**16
"""How many samples are drawn at a time."""


def ranking(
    normals: Floats,
    anomalies: Floats,
    drawn: tuple[Counts, Counts] | None = None,
    prevalence: float | None = None,
) -> Distribution:
    """The METRICS in each of R resamples of the scores of normals (N,) and anomalies (A,).

    drawn: how often each was drawn, (R, N) and (R, A); without it, each once and R = 1.
    Positive is anomalous; a tie counts one half in the AUROC; fpr95 is the share of normals at or above the highest
    threshold that reaches 95 % of the anomalies. prevalence: the share of anomalies at which precision is computed; by
    default that of the samples.
    """
    normal_counts, counts = drawn or (np.ones((1, len(normals)), np.uint8), np.ones((1, len(anomalies)), np.uint8))
    normal_order, order = np.argsort(-normals), np.argsort(-anomalies)
    down_normals, down = -normals[normal_order], -anomalies[order]  # ascending, as searchsorted wants them
    last = np.flatnonzero(np.append(down[1:] != down[:-1], True))  # of the anomalies that tie
    ends = np.append(0, last + 1)
    by = np.searchsorted(down_normals, down[last], side="right")  # how many normals are at or above them
    before = np.searchsorted(down_normals, down[last], side="left")  # and above
    distribution: Distribution = {name: np.empty(len(counts)) for name in METRICS}
    rows = max(1, CACHED // max(len(normals), len(anomalies)))
    for start in range(0, len(counts), rows):
        block = slice(start, start + rows)
        alarms = _cumulated(normal_counts[block], normal_order)
        hits = _cumulated(counts[block], order)
        total, normal_total = hits[:, -1], alarms[:, -1]
        hits, alarms_by, alarms_before = hits.take(ends, 1), alarms.take(by, 1), alarms.take(before, 1)
        weights = (hits[:, 1:] - hits[:, :-1]).astype(np.float64)
        hits = hits[:, 1:]
        if prevalence is None:
            precision = hits / np.maximum(hits + alarms_by, 1)  # where nothing was drawn, nothing is found either
        else:
            true = prevalence * hits / total[:, None]
            false = (1 - prevalence) * alarms_by / normal_total[:, None]
            precision = true / np.maximum(true + false, np.finfo(float).tiny)
        first = np.argmax(20 * hits >= 19 * total[:, None], axis=1)  # whole numbers: exact at 95 %
        ahead = normal_total - np.vecdot(weights, (alarms_by + alarms_before).astype(np.float64)) / (2 * total)
        distribution["auroc"][block] = ahead / normal_total
        distribution["average_precision"][block] = np.vecdot(weights, precision) / total
        distribution["fpr95"][block] = alarms_by[np.arange(len(first)), first] / normal_total
    return distribution


@dataclass
class Block:
    """Some resamples of an audit: `counts` says how often each sample of a figure was drawn in each.

    The same number of samples, or of groups, gives the same counts for every figure.
    """

    rows: int
    seed: int
    streams: dict[tuple[int, int], np.random.Generator]  # go on from block to block
    held: dict[tuple[int, int], Counts] = field(default_factory=dict)

    def counts(self, normals: int, anomalies: int, groups: Groups | None = None) -> tuple[Counts, Counts]:
        """How often each normal (rows, N) and each anomaly (rows, A) was drawn, all those of a group equally often."""
        if groups is None:
            return self.drawn(0, normals), self.drawn(1, anomalies)
        of_group = np.empty((self.rows, len(groups.holds)), np.uint8)
        for kind in np.unique(groups.holds).tolist():
            of_kind = np.flatnonzero(groups.holds == kind)
            of_group[:, of_kind] = self.drawn(kind, len(of_kind))
        return of_group.take(groups.normals, 1), of_group.take(groups.anomalies, 1)

    def drawn(self, kind: int, size: int) -> Counts:
        """How often each of `size` samples, or groups, of a kind was drawn: so many with replacement in every row.

        kind: 0 normals, 1 anomalies, 2 groups that hold both.
        """
        key = (kind, size)
        if key not in self.held:
            stream = self.streams.setdefault(key, np.random.default_rng([self.seed, kind, size]))
            # A sample that is drawn more than 255 times does not occur: with 256 samples, once in 10^600 resamples.
            counts = self.held[key] = np.empty((self.rows, size), np.uint8)
            rows = max(1, DRAWN // size)
            for start in range(0, self.rows, rows):
                block = counts[start : start + rows]
                places = stream.integers(size, size=block.shape) + size * np.arange(len(block))[:, None]
                block[:] = np.bincount(places.ravel(), minlength=block.size).reshape(block.shape)
        return self.held[key]


def blocks(replicates: int, samples: int, seed: int) -> Iterator[Block]:
    """Resamples of that many samples, in blocks that fit into memory."""
    rows = max(1, HELD // samples)
    streams: dict[tuple[int, int], np.random.Generator] = {}
    for start in range(0, replicates, rows):
        yield Block(min(rows, replicates - start), seed, streams)


def distributions(
    cases: Callable[[], Iterable[tuple[Floats, Floats, Groups | None]]],
    samples: int,
    *,
    replicates: int,
    seed: int,
    prevalence: float | None = None,
) -> list[Distribution]:
    """Of each case, scores of normals and of anomalies, the METRICS in every resample of a stratified bootstrap.

    Every class is redrawn from itself (Efron & Tibshirani 1993, chapter 8); of groups those that hold normals alone,
    anomalies alone, or both. cases: yields them, with their groups or None, again for every block of resamples, so that
    they need not be held. samples: the most there are in a case.
    """
    by_block: list[list[Distribution]] = []
    for block in blocks(replicates, samples, seed):
        drawn = (
            (normals, anomalies, block.counts(len(normals), len(anomalies), groups))
            for normals, anomalies, groups in cases()
        )
        by_block.append([ranking(*case, prevalence) for case in drawn])
    return [
        {name: np.concatenate([part[name] for part in parts]) for name in METRICS}
        for parts in zip(*by_block, strict=True)
    ]


def replicates(confidence: float) -> int:
    """How many resamples an interval of that confidence is made of."""
    return min(MOST, max(FEWEST, round(2 * IN_A_TAIL / (1 - confidence))))


def percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    """The percentile interval of what a bootstrap found (Efron & Tibshirani 1993, chapter 13).

    It has no width where the classes are perfectly separated; `intervals` has bounds that stay honest there.
    """
    lower, upper = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(lower), float(upper)


def _cumulated(counts: Counts, order: NDArray[np.int64]) -> NDArray[np.int32]:
    """(R, n + 1): how many were drawn of the first 0, 1, ... n samples in that order."""
    sums = np.zeros((len(counts), len(order) + 1), np.int32)
    np.cumsum(counts.take(order, 1), axis=1, dtype=np.int32, out=sums[:, 1:])
    return sums
