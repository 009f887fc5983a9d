"""The proven floor under the worst case: the figures of certified bounds, and the bracket in which the truth lies.

An attack shows that a figure is at most so good, a proof that it is at least so good. What lies between nobody knows,
and a wide bracket is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import DataError
from assay.metrics import detection
from assay.store.schemas import CERTIFIED, METRICS

ATTACK = "certified"
HIGHER_IS_BETTER = (*detection.HIGHER_IS_BETTER, "curve_area")


def figures(certified: pa.Table, scores: pa.Table, *, threshold: float, **options: Any) -> pa.Table:
    """METRICS of attack `certified` from CERTIFIED, for every norm x radius in the three regimes.

    Each attacked anomaly counts with its lower bound and each attacked normal with its upper one; -inf and inf are the
    worst places there are. All figures get worse as anomalies sink and normals rise, so none can be worse in the ball.
    scores: a table with the columns sample and clean_score, for those who are not attacked. options: of
    `metrics.figures`. The intervals are of sampling alone; what the bounds may fail comes on top of them.
    Raises DataError for a sample without a clean score.
    """
    clean = dict(zip(scores["sample"].to_pylist(), scores["clean_score"].to_pylist(), strict=True))
    columns = {name: certified[name].to_numpy(zero_copy_only=False) for name in CERTIFIED.names}
    if missing := sorted(set(columns["sample"]) - set(clean)):
        raise DataError(f"{len(missing)} certified samples were not attacked, such as {missing[0]}; audit again")
    before = np.array([clean[sample] for sample in columns["sample"]], dtype=np.float64)
    labels = columns["label"].astype(np.int64)
    bound = np.where(labels == 1, columns["lower"], columns["upper"])
    rows: list[dict[str, Any]] = []
    for norm, radius in sorted(set(zip(columns["norm"], columns["radius"], strict=True))):
        at = (columns["norm"] == norm) & (columns["radius"] == radius)
        y = labels[at]
        for regime, targets in (("evasion", y == 1), ("false_alarm", y == 0), ("both", y >= 0)):
            moved = np.where(targets, bound[at], before[at])
            where = {"attack": ATTACK, "norm": norm, "epsilon": radius, "regime": regime, "defect": "all"}
            counts = {"normals": int((y == 0).sum()), "anomalies": int((y == 1).sum())}
            counts |= {"confidence": options.get("confidence", 0.95)}
            for metric, interval in detection.figures(y, moved, threshold=threshold, **options).items():
                rows.append({**where, "metric": metric, **interval._asdict(), **counts})
    return pa.Table.from_pylist(rows, schema=METRICS)


def bracket(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where a figure of METRICS was both certified and attacked: norm, epsilon, regime, metric, lower, upper, width.

    The figure of the best attack there is lies between lower and upper. A width below 0 is a contradiction: a bound or
    a score is wrong.
    """
    values: dict[tuple[str, float, str, str], dict[str, float]] = {}
    for row in rows:
        if row["attack"] in (ATTACK, "worst") and row["defect"] == "all":
            key = (row["norm"], round(row["epsilon"], 9), row["regime"], row["metric"])
            values.setdefault(key, {})[row["attack"]] = row["value"]
    found = []
    for (norm, epsilon, regime, metric), ends in sorted(values.items()):
        if len(ends) == 2:
            proven, seen = ends[ATTACK], ends["worst"]
            lower, upper = (proven, seen) if metric in HIGHER_IS_BETTER else (seen, proven)
            where = {"norm": norm, "epsilon": epsilon, "regime": regime, "metric": metric}
            found.append({**where, "lower": lower, "upper": upper, "width": upper - lower})
    return found
