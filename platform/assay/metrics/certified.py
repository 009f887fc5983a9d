"""The proven floor under the worst case: the figures of certified bounds, and the bracket in which the truth lies.

An attack shows that a figure is no better than this, a proof that it is no worse than that. The truth lies somewhere
between, and a wide bracket is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import DataError
from assay.metrics import detection
from assay.metrics import groups as grouping
from assay.store import figures as figure_table
from assay.store.figures import Figure
from assay.store.schemas import CERTIFIED, NEWER
from assay.store.score_matrix import ALL, WORST
from assay.units import epsilon_key

ATTACK = "certified"
HIGHER_IS_BETTER = (*detection.HIGHER_IS_BETTER, "curve_area")


def figures(certified: pa.Table, scores: pa.Table, *, threshold: float, **options: Any) -> pa.Table:
    """METRICS of attack `certified` from CERTIFIED, for every norm x radius in the three regimes.

    Each attacked anomaly counts with its lower bound and each attacked normal with its upper one; where nothing is
    proven these are -inf and inf. All figures get worse as anomalies sink and normals rise, so none can be worse in the
    ball. scores: a table with the columns sample and clean_score, for samples that are not attacked. options: of
    `detection.figures`. The intervals cover sampling alone; the chance that a bound is wrong comes on top.
    Raises DataError for a sample without a clean score.
    """
    clean = dict(zip(scores["sample"].to_pylist(), scores["clean_score"].to_pylist(), strict=True))
    columns = {name: certified[name].to_numpy(zero_copy_only=False) for name in CERTIFIED.names if name not in NEWER}
    groups = grouping.named(certified)
    if missing := sorted(set(columns["sample"]) - set(clean)):
        raise DataError(f"{len(missing)} certified samples were not attacked, such as {missing[0]}; audit again")
    before = np.array([clean[sample] for sample in columns["sample"]], dtype=np.float64)
    labels = columns["label"].astype(np.int64)
    bound = np.where(labels == 1, columns["lower"], columns["upper"])
    rows: list[Figure] = []
    for norm, radius in sorted(set(zip(columns["norm"], columns["radius"], strict=True))):
        at = (columns["norm"] == norm) & (columns["radius"] == radius)
        y, names = labels[at], None if groups is None else groups[at]
        held = grouping.of(y, names)
        for regime, targets in (("evasion", y == 1), ("false_alarm", y == 0), ("both", y >= 0)):
            moved = np.where(targets, bound[at], before[at])
            samples = int((y == 0).sum()), int((y == 1).sum())
            counts = (options.get("confidence", 0.95), *samples, *grouping.counts(*samples, held))
            of_regime = detection.figures(y, moved, threshold=threshold, groups=names, **options)
            rows += [
                Figure(ATTACK, norm, radius, regime, ALL, metric, *interval, *counts)
                for metric, interval in of_regime.items()
            ]
    return figure_table.table(rows)


class Bracket(NamedTuple):
    """The two ends between which a figure under the best attack there is must lie."""

    norm: str
    epsilon: float
    regime: str
    metric: str
    lower: float
    upper: float

    @property
    def width(self) -> float:
        """Below 0 it is a contradiction: a bound or a score is wrong."""
        return self.upper - self.lower


def brackets(figures: Iterable[Figure]) -> list[Bracket]:
    """One for each figure over all kinds of defect that was both certified and attacked."""
    ends: dict[tuple[str, float, str, str], dict[str, Figure]] = {}
    for figure in figures:
        if figure.attack in (ATTACK, WORST) and figure.defect == ALL:
            key = (figure.norm, epsilon_key(figure.epsilon), figure.regime, figure.metric)
            ends.setdefault(key, {})[figure.attack] = figure
    bracketed = []
    for (norm, _, regime, metric), both in sorted(ends.items()):
        if len(both) == 2:
            proven, seen = both[ATTACK].value, both[WORST].value
            lower, upper = (proven, seen) if metric in HIGHER_IS_BETTER else (seen, proven)
            bracketed.append(Bracket(norm, both[WORST].epsilon, regime, metric, lower, upper))
    return bracketed
