"""`assay sweep`: train many detectors, varying what the search space says."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from assay.cli import _options

if TYPE_CHECKING:
    from rich.console import Console

    from assay.api.sweep import Sweep
    from assay.config.search_space import Spec
    from assay.contracts import TrainingData
    from assay.store.store import Store
    from assay.store.trial_log import Record
    from assay.sweeps.budget import Meter
    from assay.sweeps.forecast import Forecast


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The values as they are, each KEY=VALUE."""
    for value in values:
        if value.find("=") < 1:
            from assay.config.search_space import Budget

            keys = ", ".join(Budget.model_fields)
            raise click.BadParameter(f"'{value}': write KEY=VALUE, such as cost=20; the keys are {keys}")
    return values


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--resume", metavar="NAME", help="Go on with a sweep of the store; no FILE, or the one of before.")
@click.option("--trials", type=click.IntRange(min=1), help="With --resume: how many trials there are to be now.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the file: --set search.trials=4.")
@click.option(
    "--budget",
    "budget",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_pairs,
    help="End when this is used up: wall_minutes=60 (of this run), gpu_hours=8, cpu_hours=40, cost=20 (of all runs).",
)
@click.option("--dry-run", is_flag=True, help="Print trials, rungs, hours and cost from a short probe; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the forecast of --dry-run as JSON.")
@_options.data
@click.option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster; default: this machine's cores.")
@_options.store
def command(
    file: str | None,
    resume: str | None,
    trials: int | None,
    changes: tuple[str, ...],
    budget: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    address: str | None,
    root: str,
) -> None:
    """Run a sweep: trials go to a Ray cluster, everything it learns to the store.

    Ctrl-C (or SIGTERM) ends it cleanly, as does a budget that is used up; --resume goes on from the last checkpoint
    of every trial. Wall time counts anew then, hours and cost go on, so that --resume may want more --budget. A sweep
    whose own modules lie beside FILE finds them from another folder with FILE and the --set it was started with.

    \b
      assay sweep search_spaces/demo.yaml
      assay sweep search_spaces/demo.yaml --dry-run
      assay sweep --resume demo --budget cpu_hours=4
      assay sweep spaces/own.yaml --resume own
    """
    if file is None and resume is None:
        raise click.UsageError("give a search-space FILE, or --resume NAME to go on with a sweep")
    if changes and file is None:
        raise click.UsageError("a sweep is resumed as it was started; --set goes with a FILE")
    if trials is not None and (resume is None or dry_run):
        raise click.UsageError("--trials goes with --resume; for a new sweep write --set search.trials=N")
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run")
    from rich.console import Console

    from assay.api import sweep as api
    from assay.store import trials_table
    from assay.store.store import Store

    store = Store(root)
    console = Console(markup=False, emoji=False)  # brackets in messages and paths are no markup
    if dry_run:
        spec = api.read(file, resume=resume, changes=changes, budget=budget, store=store)
        if coming := api.arrival(spec, bool(resume)):
            click.echo(coming.text(), err=as_json)  # before they come: it may take long
        forecast = api.forecast(file, resume=resume, changes=changes, budget=budget, store=store, address=address)
        _show_forecast(forecast, as_json, console)
        return
    spec = api.read(file, resume=resume, changes=changes, budget=budget, trials=trials, store=store)
    # Nobody looks at earlier trials where there is no live table, and those of a long sweep take a while to read.
    records = trials_table.load(store, resume)[1] if resume and console.is_terminal else {}
    _run(spec, store, records, bool(resume), address, console)


def _show_forecast(forecast: Forecast, as_json: bool, console: Console) -> None:
    import json

    from assay.sweeps import forecast_text

    if as_json:
        click.echo(json.dumps(forecast.plain(), indent=2))
    else:
        console.print(forecast_text.text(forecast), highlight=False, soft_wrap=True)


def _run(
    spec: Spec, store: Store, records: dict[int, Record], resume: bool, address: str | None, console: Console
) -> None:
    """The sweep with its live table, and what came of it."""
    import time

    from assay.api import sweep as api
    from assay.config.search import slow_stem
    from assay.sweeps import progress
    from assay.sweeps.budget import Meter

    started, meter = time.monotonic(), Meter(spec.budget)
    say = functools.partial(console.print, highlight=False, soft_wrap=True)

    def on_data(data: TrainingData) -> None:
        counts = data.description["counts"]
        described = ", ".join(f"{name} {c['normal']} + {c['anomalous']}" for name, c in counts.items())
        say(f"{spec.summary()}\ndataset {data.description['name']}: {described} (normal + anomalous)")
        for notice in [*data.description.get("notices", []), *slow_stem.notes(spec, data.description["image_size"])]:
            say(f"note: {notice}")

    with progress.shown(spec, console, records, meter) as show:
        study, meter = api.run(
            spec,
            store,
            resume=resume,
            address=address,
            listeners=[show],
            on_data=on_data,
            on_message=say,
            meter=meter,
            again=f"assay publish {spec.name}{_options.store_option()}",
        )
    _conclude(spec, api.of_study(study, store, meter.spent()), meter, time.monotonic() - started, console)


def _conclude(spec: Spec, sweep: Sweep, meter: Meter, seconds: float, console: Console) -> None:
    """What came of it: counts, failures, the front, what to do next; exit 1 if none completed, 130, 143 if stopped."""
    from assay.cli.trials import front
    from assay.errors import SweepError
    from assay.runtime import retry

    counts = ", ".join(f"{count} {state}" for state, count in sweep.states.items())
    console.print(f"sweep {spec.name}: {counts} in {seconds:.0f} s; spent in all: {meter.text()}", soft_wrap=True)
    kinds = {trial.failure: trial for trial in sweep.trials if trial.failure}
    for kind, trial in kinds.items():
        first = trial.message.splitlines()[0]
        console.print(f"  failed ({kind}: {retry.KINDS[kind]}), such as trial {trial.number}: {first}", soft_wrap=True)
    where = _options.store_option()
    if spec.fidelity and sweep.states["complete"]:
        from assay.cli.trials import rung_quality
        from assay.store import trials_table

        for line in rung_quality(*trials_table.load(sweep.store, spec.name)):
            console.print(line, soft_wrap=True, highlight=False)
    if sweep.states["complete"]:
        from assay.cli.trials import seed_lines

        console.print(front(sweep))
        best = sweep.best.number
        if sweep.because:
            console.print(sweep.because, soft_wrap=True)
        for line in seed_lines(sweep):
            console.print(line, soft_wrap=True, highlight=False)
        for found in sweep.advice:
            console.print(str(found), soft_wrap=True, highlight=False)
        console.print(f"best: trial {best}; audit it with: assay audit {spec.name}:best{where}", soft_wrap=True)
    if sweep.interrupted:
        more = ""
        if sweep.interrupted == "budget":
            over = meter.over()
            console.print(f"budget used up: {', '.join(over.values())}", soft_wrap=True)
            counted = [name for name in over if name != "wall_minutes"]  # wall time begins anew by itself
            more = "".join(f" --budget {name}={2 * getattr(spec.budget, name):g}" for name in counted)
        console.print(f"stopped early; go on with: assay sweep --resume {spec.name}{more}{where}", soft_wrap=True)
        click.get_current_context().exit({"interrupt": 130, "termination": 143}.get(sweep.interrupted, 0))
    if not sweep.states["complete"]:
        raise SweepError(f"no trial of sweep '{spec.name}' completed; see `assay trials {spec.name}{where}`")
