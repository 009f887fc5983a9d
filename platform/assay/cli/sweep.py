"""`assay sweep`: train many detectors, varying what the search space says."""

from __future__ import annotations

import functools
import os
from typing import Any

import click

from assay.cli import _options


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--resume", metavar="NAME", help="Go on with a sweep of the store; needs no FILE.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the file: --set search.trials=4.")
@click.option("--dry-run", is_flag=True, help="Print trials, rungs and a forecast from a short probe; start nothing.")
@click.option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster; default: this machine's cores.")
@_options.store
def command(
    file: str | None, resume: str | None, changes: tuple[str, ...], dry_run: bool, address: str | None, root: str
) -> None:
    """Run a sweep: trials go to a Ray cluster, everything it learns to the store.

    Ctrl-C ends it cleanly; --resume goes on from the last checkpoint of every trial.

    \b
      assay sweep search_spaces/demo.yaml
      assay sweep --resume demo
    """
    if (file is None) == (resume is None):
        raise click.UsageError("give a search-space FILE, or --resume NAME to go on with a sweep")
    if resume and changes:
        raise click.UsageError("a sweep is resumed as it was started; --set goes with a FILE")
    from rich.console import Console

    from assay import spec as spec_module
    from assay import trials
    from assay.store import Store

    store = Store(root)
    if resume:
        spec, records = trials.load(store, resume)
    else:
        spec, records = spec_module.read(str(file), changes), {}
    console = Console(markup=False, emoji=False)  # brackets in messages and paths are no markup
    if dry_run:
        from assay import forecast

        told = forecast.text(spec, forecast.probe(spec), cpus=os.cpu_count() or 1)
        console.print(told, highlight=False, soft_wrap=True)
        return
    study, seconds = _run(spec, store, records, bool(resume), address, console)
    _conclude(spec, store, study, seconds, console)


def _run(spec: Any, store: Any, records: Any, resume: bool, address: str | None, console: Any) -> tuple[Any, float]:
    """The sweep, with its live table and its mirror."""
    import time

    from assay import live, sweep
    from assay.tracking import Tracker

    started = time.monotonic()
    again = f"assay publish {spec.name}{_options.store_option()}"
    say = functools.partial(console.print, highlight=False, soft_wrap=True)

    def on_data(data: Any) -> None:
        counts = data.description["counts"]
        described = ", ".join(f"{name} {c['normal']} + {c['anomalous']}" for name, c in counts.items())
        dataset = f"dataset {data.description['name']}: {described} (normal + anomalous)"
        say(f"{spec.summary()}\n{dataset}")

    with (
        Tracker(store, f"sweeps/{spec.name}", again, say, spec.tracking.wandb) as tracker,
        live.shown(spec, console, records) as show,
    ):
        study = sweep.run(spec, store, resume=resume, address=address, listeners=[show, tracker.trial], on_data=on_data)
    return study, time.monotonic() - started


def _conclude(spec: Any, store: Any, study: Any, seconds: float, console: Any) -> None:
    """What came of it: counts, failures, the front, what to do next; exit 1 if no trial completed, 130 if stopped."""
    from collections import Counter

    from assay import failures, trials
    from assay.cli.trials import front
    from assay.errors import SweepError

    states = Counter(record.state for record in study.records.values())
    console.print(f"sweep {spec.name}: " + ", ".join(f"{n} {s}" for s, n in states.items()) + f" in {seconds:.0f} s")
    kinds = {record.failure: record for record in study.records.values() if record.failure}
    for kind, record in kinds.items():
        first = record.message.splitlines()[0]
        console.print(
            f"  failed ({kind}: {failures.KINDS[kind]}), such as trial {record.number}: {first}", soft_wrap=True
        )
    where = _options.store_option()
    if states["complete"]:
        console.print(front(trials.rows(spec, study.records), spec))
        best = trials.best(spec, study.records)
        console.print(f"best: trial {best}; audit it with: assay audit {spec.name}:best{where}", soft_wrap=True)
    if study.interrupted:
        console.print(f"stopped early; go on with: assay sweep --resume {spec.name}{where}", soft_wrap=True)
        raise SystemExit(130 if study.interrupted == "interrupt" else 0)
    if not states["complete"]:
        raise SweepError(f"no trial of sweep '{spec.name}' completed; see `assay trials {spec.name}{where}`")
