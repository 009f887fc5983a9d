"""`assay trials`: the trials of a sweep."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from assay.cli import _options

if TYPE_CHECKING:
    from assay.api.sweep import Sweep
    from assay.config.search_space import Spec
    from assay.store.trial_log import Record
    from assay.store.trials_table import Trial


@click.command()
@click.argument("name")
@click.option("--pareto", is_flag=True, help="Only the Pareto front.")
@click.option("--rungs", is_flag=True, help="How well each rung of the fidelity ladder ranked.")
@click.option("--advice", is_flag=True, help="What mattered, what was exhausted, what never won, what to try next.")
@click.option("--optuna", metavar="URL", help="Write the study to an Optuna storage: sqlite:///sweeps.db.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_options.store
def command(name: str, pareto: bool, rungs: bool, advice: bool, optuna: str | None, as_json: bool, root: str) -> None:
    """List the trials of sweep NAME, running or ended, from its log.

    \b
      assay trials demo --pareto
    """
    from rich.console import Console

    from assay.api.sweep import open_sweep
    from assay.store import cluster_cost, trials_table
    from assay.store.store import Store

    store = Store(root)
    if as_json:
        trials = trials_table.trials(*trials_table.load(store, name))
        plain = [_plain(trial) for trial in trials if trial.pareto or not pareto]
        click.echo(json.dumps(plain, indent=2))
        return
    if optuna:
        from assay.tracking import optuna_study

        count = optuna_study.write(*trials_table.load(store, name), optuna)
        click.echo(f"{count} trials written as study '{name}'; look at them with: optuna-dashboard {optuna}")
        return
    if rungs:
        click.echo("\n".join(rung_quality(*trials_table.load(store, name))))
        return
    sweep = open_sweep(name, store=store)
    if advice:
        none = "too few complete trials to say anything: 8 are needed, and 20 for the importance of parameters"
        click.echo("\n".join(map(str, sweep.advice)) or none)
        return
    title = f"trials of {name} (validation split)"
    shown = front(sweep) if pareto else listed(sweep.trials, sweep.directions, title)
    console = Console(markup=False, emoji=False)
    console.print(shown)
    for line in [*seed_lines(sweep), *filter(None, [cluster_cost.sentence(store, name)])]:
        console.print(line, soft_wrap=True, highlight=False)


def seed_lines(sweep: Sweep) -> list[str]:
    """A sentence on each configuration whose seeds were all trained."""
    from assay.store import seeds

    return [seeds.sentence(dict(trial.seeds), trial.number) for trial in sweep.trials if trial.seeds]


def rung_quality(spec: Spec, records: Mapping[int, Record]) -> list[str]:
    """A sentence on each lower rung of the fidelity ladder."""
    from assay.metrics import rungs

    if spec.fidelity is None:
        return [f"sweep '{spec.name}' has no fidelity ladder"]
    return [str(rung) for rung in rungs.quality(records)] or ["no trial has passed a rung yet"]


def _plain(trial: Trial) -> dict[str, object]:
    told = {"seeds": dict(trial.seeds)} if trial.seeds else {}
    return {**trial.row(), **told, "parameters": dict(trial.parameters), "config": dict(trial.config or {})}


def front(sweep: Sweep) -> Any:
    """The Pareto front as a table."""
    return listed(sweep.pareto, sweep.directions, f"Pareto front of {sweep.name} (validation split)")


def listed(trials: Iterable[Trial], objectives: Iterable[str], title: str) -> Any:
    """Trials as a table that 80 columns hold: objectives of the kept epoch with intervals; below it, what varied."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    objectives, trials = list(objectives), list(trials)
    table = Table(title=title, title_justify="left")
    for column in ("trial", "state", "epoch"):
        table.add_column(column, justify="right" if column != "state" else "left", no_wrap=column != "state")
    for name in objectives:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for trial in trials:
        values = [(trial.objectives[name], trial.intervals.get(name)) for name in objectives]
        state = (
            _doing(trial)
            + (f" at {trial.rung}" if trial.rung else "")
            + (" *" if trial.pareto else "")
            + (f" ({trial.failure})" if trial.failure else "")
        )
        table.add_row(
            str(trial.number),
            state,
            f"{trial.epoch or '-'}/{trial.epochs}",
            *("-" if value is None else _figure(value, interval) for value, interval in values),
            (trial.model or "-")[:12],
        )
    return Group(table, Text("\n".join(map(varied, trials)), overflow="fold"))


def _doing(trial: Trial) -> str:
    if trial.state != "running":
        return trial.state
    begun = trial.since and time.strftime("%m-%d %H:%M", time.localtime(trial.since))
    return f"training since\n{begun}" if begun else ("running" if trial.epochs else "waiting")


def _figure(value: float, interval: Sequence[float] | None) -> str:
    """`0.812` and, on a line of its own, `[.760, .855]`."""
    bounds = [f"{bound:.3f}".removeprefix("0") for bound in interval or ()]
    return f"{value:.3f}" + (f"\n[{', '.join(bounds)}]" if bounds else "")


def varied(trial: Trial) -> str:
    """What a trial varied and what befell it: `trial 3: cobra, k=3; begun 2 times (lost: node)`."""
    if trial.repeats is not None:
        return f"trial {trial.number}: trial {trial.repeats} again with another seed"
    again = f"; begun {trial.attempts} times (lost: {trial.retried})" if trial.retried else ""
    return f"trial {trial.number}: {', '.join(filter(None, [trial.detector, trial.varied]))}{again}"
