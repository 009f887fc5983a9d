"""Cheap against audited: the sweep's own figures on validation beside the audit's on test, model by model.

Both at the budget of the sweep's attack. The sweep's figure is the best of many and comes from one short attack, so it
is too good twice over; what matters is by how much, and whether it ranks the models as the audit does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import rankdata

from assay.errors import DataError
from assay.metrics import groups as grouping
from assay.metrics.intervals import Interval, newcombe
from assay.store import figures, formats, parquet, references
from assay.store.figures import Figure
from assay.store.schemas import FIDELITY, METRICS
from assay.store.score_matrix import ALL, CLEAN, WORST
from assay.store.store import Store
from assay.units import epsilon_key

CONFIDENCE = 0.95
DRAWS = 2000
FEWEST = 3
"""Models that a rank correlation needs."""

Floats = NDArray[np.float64]


class Gap(NamedTuple):
    """A figure of the sweep, that of the audit, and the first less the second.

    limit: samples of each class that the audit attacked, None for all. metric: clean_auroc or robust_auroc. norm,
    epsilon: of the sweep's own attack.
    """

    model: str
    trial: int
    audit: str
    suite: str
    limit: int | None
    metric: str
    norm: str
    epsilon: float
    cheap: Interval
    audited: Interval
    gap: Interval

    def row(self) -> dict[str, object]:
        """As a row of FIDELITY."""
        row: dict[str, object] = {**self._asdict(), "confidence": CONFIDENCE}
        for name in ("cheap", "audited", "gap"):
            value, lower, upper = getattr(self, name)
            row |= {name: value, f"{name}_lower": lower, f"{name}_upper": upper}
        return row


def table(store: Store, this: Mapping[str, Any]) -> pa.Table:
    """FIDELITY of every model of a sweep that has a finished audit on the same dataset in the store.

    this: what audit.yaml says, or will say, of an audit of one of them; its other files are there. Of several audits of
    a model the one counts that is most like this one: the same suite, the same limit, the newest.
    """
    there = sorted((one.info for one in references.readable(store)[0]), key=lambda info: str(info["audit"]))
    infos = [info for info in there if info["audit"] != this["audit"]]
    best: dict[str, Mapping[str, Any]] = {}
    for info in (this, *sorted(infos, key=lambda info: _like(info, this), reverse=True)):
        if (info["sweep"], info["dataset"]["hash"]) == (this["sweep"], this["dataset"]["hash"]):
            best.setdefault(info["model"], info)
    gaps = [gap for info in best.values() for gap in _gaps(store, info)]
    gaps.sort(key=lambda gap: (gap.metric, gap.trial, gap.model))
    return pa.Table.from_pylist([gap.row() for gap in gaps], schema=FIDELITY)


def _like(info: Mapping[str, Any], this: Mapping[str, Any]) -> tuple[bool, bool, str]:
    return info["suite"]["name"] == this["suite"]["name"], info["limit"] == this["limit"], info["created"]


def _gaps(store: Store, info: Mapping[str, Any]) -> Iterator[Gap]:
    """Of one audited model, by its audit.yaml: the gap of the clean and of the robust AUROC."""
    audit = info["audit"]
    manifest = store.read_json(f"audits/{audit}/manifest.json")
    formats.check_content(manifest, "model", store.place(f"audits/{audit}/manifest.json"))
    rows = figures.read(parquet.load(store, f"audits/{audit}/metrics.parquet", METRICS))
    evaluation, counts = manifest["evaluation"], grouping.of_split(manifest["dataset"], "validation")
    if counts is None:
        raise DataError(f"audit {audit}: manifest.json does not say how many validation images there were; audit again")
    norm, epsilon = str(evaluation["norm"]), float(evaluation["epsilon"])
    for metric, where in (("clean_auroc", (CLEAN, "", 0.0, "")), ("robust_auroc", (WORST, norm, epsilon, "both"))):
        value = float(manifest["figures"][metric])
        cheap = Interval(value, *newcombe(value, *counts, CONFIDENCE))
        audited = _audited(rows, *where)
        about = info["model"], info["trial"], audit, info["suite"]["name"], info["limit"]
        yield Gap(*about, metric, norm, epsilon, cheap, audited, difference(cheap, audited))


def _audited(rows: Iterable[Figure], attack: str, norm: str, epsilon: float, regime: str) -> Interval:
    """The AUROC of an audit, NaN where its suite has no such budget."""
    wanted = (attack, norm, epsilon_key(epsilon), regime, "auroc", ALL)
    for one in rows:
        if (one.attack, one.norm, epsilon_key(one.epsilon), one.regime, one.metric, one.defect) == wanted:
            return Interval(one.value, one.lower, one.upper)
    return Interval(*[float("nan")] * 3)


def difference(one: Interval, other: Interval) -> Interval:
    """One less the other, of two independent figures, by the method MOVER (Zou & Donner 2008)."""
    value = one.value - other.value
    down = np.hypot(one.value - one.lower, other.upper - other.value)
    up = np.hypot(one.upper - one.value, other.value - other.lower)
    return Interval(value, value - float(down), value + float(up))


def rank_correlation(columns: Mapping[str, NDArray[Any]], metric: str, *, seed: int = 0) -> Interval | None:
    """Spearman's, of cheap and audited figures over the models, or None for fewer than three that have both.

    Interval: the models are redrawn, and each figure is redrawn from a normal distribution as wide as its own interval;
    with few models the second keeps a perfect order from looking certain.
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
    correlation: Floats = np.divide(product, length, out=np.zeros(len(a)), where=length > 0)
    return correlation
