"""Cheap against audited: the sweep's own figures on validation beside the audit's on test, model by model.

Both at the budget of the sweep's attack. What the sweep says is chosen among many and made by one short attack, so it
is too good twice over; what matters is by how much, and whether it puts the models in the order of the audit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import yaml

from assay.metrics.agreement import CONFIDENCE, difference
from assay.metrics.intervals import Interval, newcombe
from assay.store import parquet
from assay.store.schemas import FIDELITY, METRICS
from assay.store.store import Store


def table(store: Store, this: Mapping[str, Any]) -> pa.Table:
    """FIDELITY of every model of a sweep that has a finished audit on the same dataset in the store.

    this: what audit.yaml says, or will say, of an audit of one of them; its other files are there. Of several audits of
    a model the one counts that is most like this one: the same suite, the same limit, the newest.
    """
    done = [name for name in store.names("audits") if store.exists(f"audits/{name}/audit.yaml")]
    infos = [yaml.safe_load(store.read(f"audits/{name}/audit.yaml")) for name in done if name != this["audit"]]
    best: dict[str, Mapping[str, Any]] = {}
    for info in (this, *sorted(infos, key=lambda info: _like(info, this), reverse=True)):
        if (info["sweep"], info["dataset"]["hash"]) == (this["sweep"], this["dataset"]["hash"]):
            best.setdefault(info["model"], info)
    rows = [row for info in best.values() for row in _rows(store, info)]
    rows.sort(key=lambda row: (row["metric"], row["trial"], row["model"]))
    return pa.Table.from_pylist(rows, schema=FIDELITY)


def _like(info: Mapping[str, Any], this: Mapping[str, Any]) -> tuple[bool, bool, str]:
    return info["suite"]["name"] == this["suite"]["name"], info["limit"] == this["limit"], info["created"]


def _rows(store: Store, info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    audit = info["audit"]
    manifest = json.loads(store.read(f"audits/{audit}/manifest.json"))
    metrics = parquet.load(store, f"audits/{audit}/metrics.parquet", METRICS).to_pylist()
    evaluation, counts = manifest["evaluation"], manifest["dataset"]["counts"]["validation"]
    norm, epsilon = str(evaluation["norm"]), float(evaluation["epsilon"])
    for metric, where in (("clean_auroc", ("clean", "", 0.0, "")), ("robust_auroc", ("worst", norm, epsilon, "both"))):
        value = float(manifest["figures"][metric])
        cheap = Interval(value, *newcombe(value, counts["normal"], counts["anomalous"], CONFIDENCE))
        audited = _audited(metrics, *where)
        gap = difference(cheap, audited)
        yield {
            "model": info["model"],
            "trial": info["trial"],
            "audit": audit,
            "suite": info["suite"]["name"],
            "limit": info["limit"],
            "metric": metric,
            "norm": norm,
            "epsilon": epsilon,
            **dict(zip(("cheap", "cheap_lower", "cheap_upper"), cheap, strict=True)),
            **dict(zip(("audited", "audited_lower", "audited_upper"), audited, strict=True)),
            **dict(zip(("gap", "gap_lower", "gap_upper"), gap, strict=True)),
            "confidence": CONFIDENCE,
        }


def _audited(metrics: list[dict[str, Any]], attack: str, norm: str, epsilon: float, regime: str) -> Interval:
    for row in metrics:
        of = (row["attack"], row["norm"], row["regime"], row["metric"], row["defect"])
        if of == (attack, norm, regime, "auroc", "all") and abs(row["epsilon"] - epsilon) < 1e-9:
            return Interval(row["value"], row["lower"], row["upper"])
    return Interval(*[float("nan")] * 3)
