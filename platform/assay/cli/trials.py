"""`assay trials`: the trials of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from assay.cli import _options


@click.command()
@click.argument("name")
@click.option("--pareto", is_flag=True, help="Only the Pareto front.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_options.store
def command(name: str, pareto: bool, as_json: bool, root: str) -> None:
    """List the trials of sweep NAME, running or ended, from its log.

    \b
      assay trials demo --pareto
    """
    from rich.console import Console

    from assay.store import trials_table
    from assay.store.store import Store

    store = Store(root)
    if as_json:
        plain = [
            {**row, "parameters": json.loads(row["parameters"]), "config": json.loads(row["config"])}
            for row in trials_table.rows(*trials_table.load(store, name))
            if row["pareto"] or not pareto
        ]
        click.echo(json.dumps(plain, indent=2))
        return
    objectives, rows = trials_table.load_listing(store, name)
    title = f"trials of {name} (validation split)"
    shown = front(rows, name, objectives) if pareto else listed(rows, objectives, title)
    Console(markup=False, emoji=False).print(shown)


def front(rows: list[dict[str, Any]], name: str, objectives: Iterable[str]) -> Any:
    """The Pareto front as a table."""
    return listed([row for row in rows if row["pareto"]], objectives, f"Pareto front of {name} (validation split)")


def listed(rows: list[dict[str, Any]], objectives: Iterable[str], title: str) -> Any:
    """Trials as a table: objectives of the kept epoch, and what varied."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    objectives = list(objectives)
    found = Table(title=title, title_justify="left")
    for column in ("trial", "state", "epoch"):
        found.add_column(column, justify="right" if column != "state" else "left", no_wrap=True)
    for name in objectives:
        found.add_column(name, justify="right", no_wrap=True)
    found.add_column("model", no_wrap=True)
    for row in rows:
        values = [row[f"objective.{name}"] for name in objectives]
        state = row["state"] + (" *" if row["pareto"] else "") + (f" ({row['failure']})" if row["failure"] else "")
        found.add_row(
            str(row["trial"]),
            state,
            f"{row['epoch'] or '-'}/{row['epochs']}",
            *("-" if value is None else f"{value:.3f}" for value in values),
            (row["model"] or "-")[:12],
        )
    return Group(found, Text("\n".join(varied(row) for row in rows), overflow="fold"))


def varied(row: dict[str, Any]) -> str:
    """What a trial varied, and what befell it: `trial 3: adversary.epsilon=3.57/255; begun 2 times (lost: node)`."""
    from assay.units import in_255

    parts = []
    for key, value in json.loads(row["parameters"]).items():
        written = in_255(value) if key.endswith("epsilon") else f"{value:.3g}" if isinstance(value, float) else value
        parts.append(f"{key}={written}")
    again = f"; begun {row['attempts']} times (lost: {row['retried']})" if row["retried"] else ""
    return f"trial {row['trial']}: {', '.join(parts)}{again}"
