"""What sums up a security curve: the area under AUROC over epsilon, and the epsilons that turn decisions.

An area of 1 is perfect at every epsilon up to the largest, 0.5 is chance at every one. It depends on the epsilons that
were audited; compare areas of the same suite.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from assay.metrics.certified import ATTACK
from assay.store.schemas import METRICS

METRIC = "curve_area"
BOUNDS = ("value", "lower", "upper")


def areas(metrics: pa.Table) -> pa.Table:
    """METRICS rows `curve_area`, epsilon the largest, of the curves `worst` and `certified`: each norm, regime, defect.

    Worst: trapezoids. Certified: what is proven at the right end of each piece, as a floor must not be drawn above what
    is proven. Interval: the areas under the bounds of the points. An area is a weighted mean of its points, and a mean
    of figures from the same samples deviates at most by the mean of their deviations (Minkowski's inequality): the
    interval is never too narrow where the points' are not.
    """
    points: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    clean: dict[str, dict[str, Any]] = {}
    for row in metrics.to_pylist():
        if row["metric"] == "auroc" and row["attack"] == "clean":
            clean[row["defect"]] = row
        elif row["metric"] == "auroc" and row["attack"] in ("worst", ATTACK) and row["regime"] != "natural":
            points.setdefault((row["attack"], row["norm"], row["regime"], row["defect"]), []).append(row)
    found = []
    for (attack, _, _, defect), rows in sorted(points.items()):
        if defect in clean:
            curve = sorted([{**clean[defect], "epsilon": 0.0}, *rows], key=lambda row: row["epsilon"])
            found.append({**curve[-1], "metric": METRIC, **{name: _area(curve, name, attack) for name in BOUNDS}})
    return pa.Table.from_pylist(found, schema=METRICS)


def _area(curve: list[dict[str, Any]], name: str, attack: str) -> float:
    total = 0.0
    for left, right in pairwise(curve):
        height = right[name] if attack == ATTACK else (left[name] + right[name]) / 2
        total += height * (right["epsilon"] - left["epsilon"])
    return total / float(curve[-1]["epsilon"])


def quartiles(minimal: pa.Table) -> list[dict[str, Any]]:
    """Of MINIMAL, for every norm and label: norm, label, samples, quarter, half, three_quarters, largest.

    Of the samples that are decided rightly without an attack: the epsilons by which so many of them are decided
    wrongly; inf where fewer are up to `largest`, the largest epsilon that was tried.
    """
    columns = {name: minimal[name].to_numpy(zero_copy_only=False) for name in minimal.schema.names}
    right = columns["clean_correct"].astype(bool)
    found = []
    for norm, label in sorted(set(zip(columns["norm"][right], columns["label"][right].tolist(), strict=True))):
        at = right & (columns["norm"] == norm) & (columns["label"] == label)
        # A quantile that is one of the samples: between a number and infinity there is nothing to interpolate.
        cuts = np.quantile(columns["epsilon"][at], (0.25, 0.5, 0.75), method="inverted_cdf").tolist()
        shares = dict(zip(("quarter", "half", "three_quarters"), cuts, strict=True))
        largest = float(columns["largest"][at].max())
        found.append({"norm": norm, "label": label, "samples": int(at.sum()), **shares, "largest": largest})
    return found
