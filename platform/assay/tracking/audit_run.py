"""A finished audit as one W&B run: figures, curves, tables, model and audit as artifacts; no picture of a sample."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay import shelves
from assay.approval.verdict import verdict_of
from assay.hashing import digest
from assay.store.audit_reader import Audit, Columns
from assay.store.store import Store
from assay.tracking.client import Connection, content_of, tracking_errors
from assay.units import PERCENT, scale

FILES = (
    "audit.yaml", "manifest.json", "metrics.parquet", "checks.parquet", "cost.parquet", "verdict.json",
    "comparison.json",
)  # fmt: skip
"""What is sent of an audit folder. The report, `worst.parquet` and all scores stay: they show or name samples."""
CURVES = {"worst case": "worst", "certified floor": "certified"}
REGIMES = ("both", "evasion", "false_alarm")
FIGURES = ("security_curves", "pareto")  # sections of the report that show no sample
UPLOAD = 600  # seconds for an artifact


def content(folder: Store) -> str:
    """The hash of what an audit's run and report are made of; a new verdict changes it."""
    names = [name for name in (*FILES, "trials.parquet") if folder.exists(name)]
    return content_of({name: digest(folder.read(name)) for name in names})


def send(connection: Connection, store: Store, audit: Audit, run_id: str) -> None:
    """Write the run of an audit, with everything that belongs to it; returns once the server has accepted the files."""
    info = audit.info
    about = {**config(info), "command": audit.command}
    run = connection.start(run_id, info["audit"], info.get("sweep") or "audits", "audit", about)
    with tracking_errors(connection.server):
        for norm in curved(audit):
            run.define_metric(f"security/{norm}/*", step_metric=f"security/{norm}/epsilon")
            for point in curve(audit, norm):
                run.log(point)
        run.log({**tables(audit), **figures(audit)})
        with store.near(f"models/{info['model']}") as model:
            _artifact(run, f"model-{info['model']}", "model", [model.path(name) for name in model.names()])
        with audit.folder.near() as folder:
            _artifact(run, f"audit-{info['audit']}", "audit", [folder.path(name) for name in FILES])
    connection.finish(run, content(audit.folder), summary(audit))


def config(info: Mapping[str, Any]) -> dict[str, object]:
    """What was audited, and how."""
    about: dict[str, object] = {
        key: info.get(key) for key in ("audit", "model", "sweep", "trial", "seed", "limit", "created")
    }
    suite, dataset = info["suite"], info["dataset"]
    about |= {"suite": suite["name"], "suite_version": suite.get("version"), "threshold": info["threshold"]["value"]}
    return {**about, "dataset": dataset["name"], "dataset_hash": dataset.get("hash"), "samples": info["samples"]}


def summary(audit: Audit) -> dict[str, float | str]:
    """The figures a person compares audits by."""
    passed = audit.checks["passed"].astype(bool)
    content: dict[str, float | str] = {"checks/passed": int(passed.sum()), "checks/failed": int((~passed).sum())}
    for metric in ("auroc", "miss_rate", "false_alarm_rate"):
        if figure := audit.clean(metric):
            content[f"clean/{metric}"] = figure.value
        for budget in audit.budgets:
            figure = audit.attacked(metric, budget) if metric == "auroc" else audit.rate(metric, budget)
            if figure:
                content[f"worst/{budget.norm}/{budget.epsilon * scale(budget.norm):.3g}/{metric}"] = figure.value
    if verdict := verdict_of(audit):
        content["verdict"] = verdict.verdict
        content |= {f"gate/{gate.name}": gate.decision for gate in verdict.gates}
    return content


def curved(audit: Audit) -> list[str]:
    """The norms that have a security curve."""
    return [norm for norm in audit.norms if norm not in PERCENT]


def curve(audit: Audit, norm: str) -> list[dict[str, float]]:
    """The points of the security curves of a norm: AUROC by `security/NORM/...`, over its `epsilon` (linf in 1/255)."""
    points = []
    lines = {attack["name"]: attack["name"] for attack in audit.attacks(norm)} | CURVES
    clean = audit.clean("auroc")
    for budget in [None, *audit.budgets_of(norm)]:
        point = {"epsilon": budget.epsilon * scale(norm) if budget else 0.0}
        for label, attack in lines.items():
            for regime in REGIMES if attack == "worst" else REGIMES[:1]:
                figure = audit.attacked("auroc", budget, regime, attack) if budget else clean
                name = f"{label}, {regime.replace('_', ' ')}" if attack == "worst" else label
                if figure and math.isfinite(figure.value):
                    point[name] = figure.value
                    if (attack, regime) == ("worst", "both"):
                        point |= {f"{name}, lower": figure.lower, f"{name}, upper": figure.upper}
        points.append({f"security/{norm}/{name}": value for name, value in point.items()})
    return points


def tables(audit: Audit) -> dict[str, object]:
    """Metrics, checks, costs and, where there is a verdict, its gates, as W&B tables."""
    made = {name: _table(getattr(audit, name)) for name in ("metrics", "checks", "cost")}
    verdict = verdict_of(audit)
    if verdict and verdict.gates:
        names = ("name", "text", "value", "lower", "upper", "limit", "decision", "why")
        made["gates"] = _table({name: [getattr(gate, name) for gate in verdict.gates] for name in names})
    return {f"tables/{name}": table for name, table in made.items()}


def _table(columns: Columns | Mapping[str, Any]) -> Any:
    import wandb

    rows = zip(*(list(column) for column in columns.values()), strict=True)
    return wandb.Table(columns=list(columns), data=[list(row) for row in rows], allow_mixed_types=True)


def figures(audit: Audit) -> dict[str, object]:
    """The report's own drawings of curves and front; none of the sections with pictures of samples."""
    import wandb

    drawings: dict[str, object] = {}
    for name in FIGURES:
        drawn = re.findall(r"<figure.*?</figure>", str(shelves.load("sections", name)(audit).html), re.DOTALL)
        if drawn:
            page = f"<!doctype html><meta charset=utf-8><body style='font-family:sans-serif'>{''.join(drawn)}"
            drawings[f"figures/{name}"] = wandb.Html(page, inject=False)
    return drawings


def _artifact(run: Any, name: str, kind: str, files: list[Path]) -> None:
    """A version of an artifact; W&B keeps one where the files are the same."""
    import wandb

    artifact = wandb.Artifact(name, kind)
    for path in files:
        if path.is_file() and not path.name.startswith("."):
            artifact.add_file(str(path), skip_cache=True, policy="immutable")
    if artifact.manifest.entries:  # the model may be gone from the store
        run.log_artifact(artifact).wait(timeout=UPLOAD)
