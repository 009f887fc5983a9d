"""`assay sweep`: train many detectors, varying what the search space says."""

from __future__ import annotations

import functools
from typing import Any

import click

from assay.cli import _options


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
@click.option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster; default: this machine's cores.")
@_options.store
def command(
    file: str | None,
    resume: str | None,
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
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run")
    from rich.console import Console

    from assay.cluster import user_code
    from assay.config import reader
    from assay.store import trials_table
    from assay.store.store import Store

    store = Store(root)
    console = Console(markup=False, emoji=False)  # brackets in messages and paths are no markup
    budgets = [f"budget.{pair}" for pair in budget]
    records: Any = {}
    if file:
        user_code.beside(file)
    if resume:
        spec = reader.changed(_stored(store, resume, file, changes), budgets)
        if dry_run or console.is_terminal:  # nobody else looks at them, and those of a long sweep take a while
            _, records = trials_table.load(store, resume)
    else:
        spec = reader.read(str(file), [*changes, *budgets])
    if dry_run:
        _forecast(spec, store, records, address, as_json, console)
        return
    study, meter, seconds = _run(spec, store, records, bool(resume), address, console)
    _conclude(spec, store, study, meter, seconds, console)


def _stored(store: Any, name: str, file: str | None, changes: tuple[str, ...]) -> Any:
    """The spec that a sweep was started with; raises SweepError where a file that is given, too, says another one."""
    from assay.config import reader
    from assay.errors import InputError, SpecError, SweepError
    from assay.hashing import canonical
    from assay.store import trials_table

    try:
        stored = trials_table.stored_spec(store, name)
    except SpecError as error:
        if file is None and "No module named" in str(error):
            hint = f"where it lies beside the search space, give that, too: assay sweep FILE --resume {name}"
            raise InputError(f"{error}\n{hint}") from None
        raise
    if file:
        given = reader.read(file, changes)
        if given.hash != stored.hash:
            now, then = given.plain(), stored.plain()
            differs = [key for key in now if key != "budget" and canonical(now[key]) != canonical(then.get(key))]
            raise SweepError(
                f"sweep '{name}' was not started from {file} as it is now: {', '.join(differs)} differ. Give the file "
                f"as it was, with the same --set, or go on by name alone: assay sweep --resume {name}"
            )
    return stored


def _forecast(spec: Any, store: Any, records: Any, address: str | None, as_json: bool, console: Any) -> None:
    """What the sweep, or what remains of it, will take."""
    import json

    from assay.sweeps import forecast, forecast_text

    found = forecast.of(spec, store, records, address)
    if as_json:
        click.echo(json.dumps(found.plain(), indent=2))
    else:
        console.print(forecast_text.text(found), highlight=False, soft_wrap=True)


def _run(
    spec: Any, store: Any, records: Any, resume: bool, address: str | None, console: Any
) -> tuple[Any, Any, float]:
    """The sweep, with its live table and its mirror: its study, what it spent, and the seconds it took."""
    import time

    from assay.sweeps import progress, sweep
    from assay.sweeps.budget import Meter
    from assay.tracking.mirror import Tracker

    started, meter = time.monotonic(), Meter(spec.budget)
    again = f"assay publish {spec.name}{_options.store_option()}"
    say = functools.partial(console.print, highlight=False, soft_wrap=True)

    def on_data(data: Any) -> None:
        counts = data.description["counts"]
        described = ", ".join(f"{name} {c['normal']} + {c['anomalous']}" for name, c in counts.items())
        dataset = f"dataset {data.description['name']}: {described} (normal + anomalous)"
        say(f"{spec.summary()}\n{dataset}")

    with (
        Tracker(store, f"sweeps/{spec.name}", again, say, spec.tracking.wandb) as tracker,
        progress.shown(spec, console, records, meter) as show,
    ):
        listeners = [show, tracker.trial]
        study = sweep.run(
            spec, store, resume=resume, address=address, listeners=listeners, on_data=on_data, meter=meter
        )
    return study, meter, time.monotonic() - started


def _conclude(spec: Any, store: Any, study: Any, meter: Any, seconds: float, console: Any) -> None:
    """What came of it: counts, failures, the front, what to do next; exit 1 if none completed, 130, 143 if stopped."""
    from collections import Counter

    from assay.cli.trials import front
    from assay.errors import SweepError
    from assay.runtime import retry
    from assay.store import trials_table

    states = Counter(record.state for record in study.records.values())
    counts = ", ".join(f"{n} {s}" for s, n in states.items())
    console.print(f"sweep {spec.name}: {counts} in {seconds:.0f} s; spent in all: {meter.text()}", soft_wrap=True)
    kinds = {record.failure: record for record in study.records.values() if record.failure}
    for kind, record in kinds.items():
        first = record.message.splitlines()[0]
        console.print(f"  failed ({kind}: {retry.KINDS[kind]}), such as trial {record.number}: {first}", soft_wrap=True)
    where = _options.store_option()
    if states["complete"]:
        console.print(front(trials_table.listing(spec.directions, study.records), spec.name, spec.directions))
        best = trials_table.best(spec, study.records)
        console.print(f"best: trial {best}; audit it with: assay audit {spec.name}:best{where}", soft_wrap=True)
    if study.interrupted:
        more = ""
        if study.interrupted == "budget":
            over = meter.over()
            console.print(f"budget used up: {', '.join(over.values())}", soft_wrap=True)
            counted = [name for name in over if name != "wall_minutes"]  # wall time begins anew by itself
            more = "".join(f" --budget {name}={2 * getattr(spec.budget, name):g}" for name in counted)
        console.print(f"stopped early; go on with: assay sweep --resume {spec.name}{more}{where}", soft_wrap=True)
        raise SystemExit({"interrupt": 130, "termination": 143}.get(study.interrupted, 0))
    if not states["complete"]:
        raise SweepError(f"no trial of sweep '{spec.name}' completed; see `assay trials {spec.name}{where}`")
