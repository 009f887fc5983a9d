"""Every table that an audit makes of its parts: figures, costs, the worst case of every sample."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.audits import bank_size_job
from assay.audits.checks import _kept
from assay.audits.checks._context import Context
from assay.audits.plan import Plan
from assay.metrics import (
    attack_cost,
    certified,
    corruption,
    detection,
    importance,
    rungs,
    security_curve,
    sweep_audit_gap,
    worst_case,
)
from assay.metrics import deployed as deployed_figures
from assay.metrics.worst_case import worst_first
from assay.store import parquet, schemas, score_matrix, trial_log
from assay.store.store import Store

SHOWN = 12  # pictures of worst samples
SEEN = ("scores", "corrupted", "certified", "deployed")
"""Tables that checks are given, beside the metrics."""


def made(store: Store, plan: Plan) -> tuple[dict[str, pa.Table], Callable[..., Context], str]:
    """Of a plan whose jobs are all done: name -> table, and what the checks need.

    That is what makes their context of a detector and its device, and the mark of their results in `checks._kept`.
    """
    parts = {
        kind: pa.concat_tables(parquet.load(store, work.key, schema) for work in works)
        for kind, works, schema in (
            ("scores", plan.attacks, schemas.SCORES),
            ("corrupted", plan.corruptions, schemas.CORRUPTED),
            ("certified", plan.certifications, schemas.CERTIFIED),
            ("minimal", plan.minimal_epsilons, schemas.MINIMAL),
            ("bank", plan.bank_sizes, schemas.BANK_SCORES),
        )
        if works
    }
    if replays := [job.keys[-1] for job in plan.attacks if job.replayed]:
        parts["deployed"] = pa.concat_tables(parquet.load(store, key, schemas.DEPLOYED) for key in replays)
    matrix, threshold = score_matrix.read(parts["scores"]), plan.model.threshold
    figures = [detection.table(matrix, threshold=threshold)]
    if "corrupted" in parts:
        figures.append(corruption.figures(parts["corrupted"], threshold=threshold))
    if "certified" in parts:
        clean = pa.table({"sample": matrix.samples, "clean_score": matrix.clean})
        figures.append(certified.figures(parts["certified"], clean, threshold=threshold))
    figures.append(security_curve.areas(pa.concat_tables(figures)))
    metrics = pa.concat_tables(figures)
    if "deployed" in parts:
        deployed = deployed_figures.figures(parts["deployed"], deployed_figures.thresholds(plan.model.manifest))
        metrics = pa.concat_tables([metrics, deployed])
    given = functools.partial(
        Context,
        images=plan.images,
        suite=plan.suite,
        scores=columns(parts["scores"]),
        metrics=columns(metrics),
        manifest=plan.model.manifest,
        threshold=threshold,
        facts=plan.facts,
        corrupted=columns(parts["corrupted"]) if "corrupted" in parts else None,
        certified=columns(parts["certified"]) if "certified" in parts else None,
        deployed=columns(parts["deployed"]) if "deployed" in parts else None,
    )
    seen = {kind: part for kind, part in parts.items() if kind in SEEN} | {"metrics": metrics}
    knowledge = {entry.name: entry.knowledge for entry in plan.suite.attacks}
    of_attack = {name: [parts["scores"].filter(pc.equal(parts["scores"]["attack"], name))] for name in knowledge}
    candidates = pa.concat_tables(parquet.load(store, job.keys[1], schemas.WORST) for job in plan.attacks)
    found = {
        "metrics": metrics,
        "worst_case": worst_case.table(matrix),
        "cost": attack_cost.table(of_attack, threshold=threshold, knowledge=knowledge),
        "worst": worst(candidates, threshold),
        **({"minimal": parts["minimal"]} if "minimal" in parts else {}),
        **({"bank_size": bank_size_job.figures(parts["bank"], threshold=threshold)} if "bank" in parts else {}),
    }
    return found, given, _kept.mark(seen, plan.device)


def of_sweep(store: Store, about: Mapping[str, Any]) -> dict[str, pa.Table]:
    """Name -> table about the sweep that the audited model came from; about: what audit.yaml is going to say."""
    trials = parquet.load(store, f"audits/{about['audit']}/trials.parquet")
    spec = store.read_yaml(f"sweeps/{about['sweep']}/spec.yaml")
    found = {
        "importance": importance.table(trials, spec["objectives"]),
        "fidelity": sweep_audit_gap.table(store, about),
    }
    if spec.get("fidelity"):
        found["rungs"] = rungs.table(trial_log.records(trial_log.read(store, about["sweep"])))
    return found


def worst(candidates: pa.Table, threshold: float) -> pa.Table:
    """The samples an attacker gained most on, each once, with their pictures (schemas.WORST)."""
    label, clean, score = (candidates[name].to_numpy() for name in ("label", "clean_score", "adversarial_score"))
    samples, seen = candidates["sample"].to_pylist(), set()
    keep: list[int] = []
    for i in map(int, worst_first(label, clean, score, threshold)):
        if samples[i] not in seen and len(keep) < SHOWN:
            seen.add(samples[i])
            keep.append(i)
    return candidates.take(pa.array(keep, pa.int64()))


def columns(table: pa.Table) -> Mapping[str, Any]:
    """A table as numpy arrays by column name; a text that stands in many rows is held once."""
    return {name: _array(table[name].combine_chunks()) for name in table.schema.names}


def _array(column: pa.Array) -> Any:
    if not pa.types.is_string(column.type):
        return column.to_numpy(zero_copy_only=False)
    encoded = column.dictionary_encode("encode")  # no text is a value, too: of categories, where there are none
    return np.array(encoded.dictionary.to_pylist(), dtype=object)[encoded.indices.to_numpy()]
