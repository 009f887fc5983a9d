"""`assay audit`: attack a model with every attack of a suite."""

from __future__ import annotations

import os
from typing import Any

import click

from assay.cli import _options


@click.command()
@click.argument("model", metavar="MODEL|SWEEP:best|SWEEP:pareto")
@click.option("--suite", "suite_name", default="standard", show_default=True, help="quick, standard or a YAML file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the attacks' random starts.")
@click.option("--limit", type=click.IntRange(min=1), help="Attack only so many test samples of each class (a screen).")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: one for each core.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--wandb/--no-wandb", default=True, show_default=True, help="Mirror the figures to W&B.")
@_options.store
def command(
    model: str,
    suite_name: str,
    seed: int,
    limit: int | None,
    workers: int | None,
    device: str,
    wandb: bool,
    root: str,
) -> None:
    """Attack a model on the test split and write scores, metrics and checks to the store.

    An audit that was interrupted goes on where it stopped when the same command is given again.

    \b
      assay audit demo:best --suite quick
    """
    from rich.console import Console

    from assay import model as model_module
    from assay import suite, trials
    from assay.store import Store

    store, console = Store(root), Console()
    chosen = suite.read(suite_name)
    names = trials.models(store, model) if ":" in model else [model_module.find(store, model)]
    for name in names:
        audit = _run(store, name, chosen, seed, limit, workers or os.cpu_count() or 1, device, console)
        _mirror(store, audit, wandb)
        console.print(_summary(store, audit))
        console.print(f"audit {audit}: {store.path(f'audits/{audit}')}", soft_wrap=True, highlight=False, markup=False)
        policy = "default" if chosen.name == "standard" else "FILE"
        again = f"assay approve {audit} --policy {policy}{_options.store_option()}"
        console.print(f"decide with: {again}", soft_wrap=True, highlight=False)


def _run(
    store: Any, name: str, suite: Any, seed: int, limit: int | None, workers: int, device: str, console: Any
) -> str:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from assay import audit

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
        task = bar.add_task(f"audit {name[:12]} ({suite.name})", total=None)

        def on_progress(progress: Any) -> None:
            bar.update(task, completed=progress.done, total=progress.total)
            if not console.is_terminal:
                console.print(
                    f"  {progress.done}/{progress.total} {progress.attack} {progress.seconds:.1f} s", highlight=False
                )

        return audit.run(
            store, name, suite, seed=seed, limit=limit, workers=workers, device=device, on_progress=on_progress
        )


def _mirror(store: Any, audit: str, enabled: bool) -> None:
    """The audit as a W&B run."""
    from assay.audit_folder import Audit
    from assay.tracking import Tracker

    folder = Audit(store.path(f"audits/{audit}"))
    figures = {
        f"{row['attack']}/{row['norm']}/{row['epsilon'] * 255:.3g}/{row['regime']}/{row['metric']}": row["value"]
        for row in _rows(store, audit, "metrics")
        if row["defect"] == "all" and row["attack"] in ("clean", "worst")
    }
    config = {key: folder.info[key] for key in ("audit", "model", "sweep", "trial", "seed")}
    group = folder.info["sweep"] or "audits"
    with Tracker(store.path(f"audits/{audit}/wandb"), "assay", group, enabled) as tracker:
        tracker.audit(audit, config, figures)


def _rows(store: Any, audit: str, table: str) -> list[dict[str, Any]]:
    from assay import parquet, tables

    schema = getattr(tables, table.upper())
    rows: list[dict[str, Any]] = parquet.load(store, f"audits/{audit}/{table}.parquet", schema).to_pylist()
    return rows


def _summary(store: Any, audit: str) -> Any:
    """Clean and worst-case AUROC with intervals, and the checks."""
    from rich.markup import escape
    from rich.table import Table

    from assay.units import in_255

    found = Table(title="AUROC on the test split (worst case over all attacks)", title_justify="left")
    for name in ("norm", "epsilon", "regime"):
        found.add_column(name)
    found.add_column("AUROC", justify="right")
    for row in _rows(store, audit, "metrics"):
        if row["metric"] == "auroc" and row["defect"] == "all" and row["attack"] in ("clean", "worst"):
            epsilon = in_255(row["epsilon"], row["norm"])
            budget = (row["norm"], epsilon, row["regime"]) if row["norm"] else ("clean", "", "")
            found.add_row(*budget, f"{row['value']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]")
    checks = _rows(store, audit, "checks")
    failed = [f"{check['check']}: {check['evidence']}" for check in checks if not check["passed"]]
    found.caption = escape(
        f"checks: {len(checks) - len(failed)} of {len(checks)} passed" + "".join(f"\nFAILED {line}" for line in failed)
    )
    found.caption_justify = "left"
    return found
