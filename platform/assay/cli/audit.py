"""`assay audit`: attack a model with every attack of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli import _options, _verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from assay.api.audit import Audit
    from assay.audits.audit import Progress as JobProgress
    from assay.audits.forecast import Forecast
    from assay.store.store import Store


@click.command()
@click.argument("model", metavar="MODEL|SWEEP:best|SWEEP:pareto|CARD.yaml|FILE.pt2|MODULE:FACTORY")
@click.option(
    "--suite", "suite_name", default="standard", show_default=True, help="quick, standard, exhaustive or a YAML file."
)
@click.option("--policy", "policy_name", help="Decide, too: default, demo or a YAML file; exits with the verdict.")
@_verdict.files
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the attacks' random starts.")
@click.option("--limit", type=click.IntRange(min=1), help="Attack only so many test samples of each class (a screen).")
@click.option("--workers", type=click.IntRange(min=1), help="Pieces of work at a time; default: one a core.")
@click.option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster; default: this machine's cores.")
@click.option(
    "--gpus-per-worker",
    "gpus",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Share of a GPU that each worker takes, such as 0.25.",
)
@click.option(
    "--memory-gb",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory that each worker asks for, so that a cluster starts small machines for many.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the passes and the time of every piece of work; attack nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the forecast of --dry-run as JSON.")
@click.option("--surrogate", metavar="MODEL", help="Another model in the store, for attacks by transfer.")
@click.option("--card", metavar="FILE", help="What Assay must know of a detector that it did not train.")
@_options.data
@_options.allow_import
@click.option("--wandb/--no-wandb", default=True, show_default=True, help="Mirror the figures to W&B.")
@_options.store
def command(
    model: str,
    suite_name: str,
    policy_name: str | None,
    junit: Path | None,
    summary: Path | None,
    surrogate: str | None,
    card: str | None,
    workers: int | None,
    address: str | None,
    dry_run: bool,
    as_json: bool,
    allow_import: tuple[str, ...],
    wandb: bool,
    root: str,
    **options: Any,
) -> None:
    """Attack a model on the test split and write scores, metrics and checks to the store.

    It begins with a forecast. An audit that was interrupted goes on where it stopped when the same command is given
    again. A detector from elsewhere is brought into the store first: a module:attribute that makes it, an exported
    program (.pt2) or an ONNX file, with a card that says the dataset and the threshold.

    With --policy, what `assay approve` does is done as well, unsigned. Exit codes are then 0 PASS, 3 FAIL, 4 INVALID,
    5 INCONCLUSIVE, of several models the worst; without it 0. Always 2 usage, 1 error.

    \b
      assay audit demo:best --suite quick
      assay audit demo:best --suite quick --policy demo --junit verdict.xml
      assay audit detector.pt2 --suite standard
      assay audit detector.pt2 --suite standard --dry-run
    """
    from rich.console import Console

    from assay import consent
    from assay.api.approve import approve
    from assay.api.arguments import policy_of, suite_of
    from assay.api.audit import models_of
    from assay.approval import out_of_reach, undecidable
    from assay.runtime import allowance, devices
    from assay.store.store import Store

    if policy_name is None and (junit or summary):
        raise click.UsageError("--junit and --summary are about a verdict; give --policy, too")
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run")
    consent.allow(allow_import)
    store, console = Store(root), Console(markup=False, emoji=False)  # brackets in paths and names are no markup
    chosen = suite_of(suite_name)
    rules = policy_of(policy_name) if policy_name else None
    if rules:
        rules.refuse(chosen.name, "this audit", "give")
        for gate in undecidable.undecidable(rules, chosen):
            click.echo(f"note: this will be INCONCLUSIVE: {gate}", err=True)
    if not workers and not address:
        workers = allowance.cores() if options["device"] == "cpu" else 1
    where = {"workers": workers, "address": address}
    verdicts = []
    for name in models_of(store, model, card, devices.here(options["device"], address)):
        for line in out_of_reach.before(store, name, rules, options["limit"]) if rules else ():
            click.echo(f"note: this will be INCONCLUSIVE: {line}", err=True)
        if dry_run:
            _foresee(store, name, suite_name, as_json, surrogate, where["workers"], options)
            continue
        finished = _run(store, name, suite_name, console, surrogate=surrogate, **where, **options)
        console.print(_summary(finished))
        for line in finished.remarks:
            console.print(line, soft_wrap=True, highlight=False)
        console.print(f"audit {finished.id}: {finished.location}", soft_wrap=True, highlight=False)
        if policy_name:
            verdicts.append((approve(finished.id, policy_name, store=store), f"{finished.location}/report.html"))
            _verdict.tell(*verdicts[-1])
        else:
            fitting = "default" if chosen.name in ("standard", "exhaustive") else "FILE"
            again = f"assay approve {finished.id} --policy {fitting}{_options.store_option()}"
            console.print(f"decide with: {again}", soft_wrap=True, highlight=False)
        _mirror(store, finished.id, wandb, console)
    if verdicts:
        _verdict.write(verdicts, junit, summary)
        click.get_current_context().exit(_verdict.exit_code([verdict for verdict, _ in verdicts]))


def _foresee(
    store: Store,
    name: str,
    suite: str,
    as_json: bool,
    surrogate: str | None,
    workers: Any,
    options: Mapping[str, Any],
) -> None:
    """Print the forecast."""
    import json

    from assay.api.audit import forecast_audit
    from assay.audits import forecast_text

    given = {key: options[key] for key in ("seed", "limit", "device")}
    ahead = forecast_audit(name, suite, store=store, surrogate=surrogate, workers=workers, **given)
    click.echo(json.dumps(ahead.plain(), indent=2) if as_json else forecast_text.text(ahead))


def _run(store: Store, name: str, suite: str, console: Console, **options: Any) -> Audit:
    """The audit, made with its progress shown."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from assay.api.audit import audit
    from assay.audits import forecast_text

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[pieces]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("of about"),
        TimeRemainingColumn(),
    )
    share: dict[str, float] = {}  # what one part of each piece takes of the whole, by the forecast
    with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
        task = bar.add_task(f"audit {name[:12]} ({suite})", total=None, pieces="")

        def on_forecast(forecast: Forecast) -> None:
            console.print(forecast_text.line(forecast), highlight=False, soft_wrap=True)
            share.update({piece.work: (piece.seconds or 0.0) / piece.parts for piece in forecast.pieces})
            bar.update(task, total=sum(piece.seconds or 0.0 for piece in forecast.pieces))

        def on_progress(progress: JobProgress) -> None:
            spent = share.get(progress.work, 0.0) if progress.seconds else 0.0
            bar.update(task, advance=spent, pieces=f"{progress.done}/{progress.total}")
            if not console.is_terminal:
                line = f"  {progress.done}/{progress.total} {progress.work} {progress.seconds:.1f} s"
                console.print(line, highlight=False)

        return audit(name, suite, store=store, on_progress=on_progress, on_forecast=on_forecast, **options)


def _mirror(store: Store, audit: str, enabled: bool, console: Console) -> None:
    """The audit on W&B."""
    from assay.tracking.mirror import Tracker

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with Tracker(store, f"audits/{audit}", f"assay publish {audit}{_options.store_option()}", say, enabled) as tracker:
        tracker.start()


def _summary(audit: Audit) -> Table:
    """Clean and worst-case AUROC with intervals, and the checks."""
    from rich.table import Table

    from assay.store.audit_reader import count_of_checks
    from assay.store.score_matrix import CLEAN, DEPLOYED, WORST
    from assay.units import in_255

    shown = Table(title="AUROC on the test split (worst case over all attacks)", title_justify="left")
    for name in ("norm", "epsilon", "regime"):
        shown.add_column(name)
    shown.add_column("AUROC", justify="right")
    figures = [
        row for row in audit.to_arrow("metrics").to_pylist() if row["metric"] == "auroc" and row["defect"] == "all"
    ]
    by_line = {
        (row["attack"], row["norm"], row["epsilon"], row["regime"]): (
            f"{row['value']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
        )
        for row in figures
    }
    deployed = any(attack.startswith(DEPLOYED) for attack, *_ in by_line)
    if deployed:
        shown.add_column("as deployed", justify="right")
    for (attack, *line), auroc in by_line.items():
        if attack in (CLEAN, WORST):
            norm, epsilon, regime = line
            budget = (norm, in_255(epsilon, norm), regime) if norm else ("clean", "", "")
            shown.add_row(*budget, auroc, *([by_line[DEPLOYED + attack, norm, epsilon, regime]] if deployed else []))
    checks = audit.to_arrow("checks").to_pylist()
    failed = [check for check in checks if not check["passed"]]
    lines = [count_of_checks((check["passed"], check["evidence"]) for check in checks).words]
    lines += [f"{'FAILED' if c['required'] else 'advice:'} {c['check']}: {c['evidence']}" for c in failed]
    shown.caption = "\n".join(lines)
    shown.caption_justify = "left"
    return shown
