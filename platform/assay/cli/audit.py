"""`assay audit`: attack a model with every attack of a suite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli import _options, _verdict

if TYPE_CHECKING:
    from assay.approval.verdict import Verdict


@click.command()
@click.argument("model", metavar="MODEL|SWEEP:best|SWEEP:pareto|CARD.yaml|FILE.pt2|MODULE:FACTORY")
@click.option(
    "--suite", "suite_name", default="standard", show_default=True, help="quick, standard, exhaustive or a YAML file."
)
@click.option("--policy", "policy_name", help="Decide, too: default, demo or a YAML file; exits with the verdict.")
@_verdict.files
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the attacks' random starts.")
@click.option("--limit", type=click.IntRange(min=1), help="Attack only so many test samples of each class (a screen).")
@click.option("--workers", type=click.IntRange(min=1), help="Pieces of work at a time; default: one for each core.")
@click.option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster; default: this machine's cores.")
@click.option(
    "--gpus-per-worker",
    "gpus",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Share of a GPU that each worker takes, such as 0.25.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--surrogate", metavar="MODEL", help="Another model in the store, for attacks by transfer.")
@click.option("--card", metavar="FILE", help="What Assay must know of a detector that it did not train.")
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
    wandb: bool,
    root: str,
    **options: Any,
) -> None:
    """Attack a model on the test split and write scores, metrics and checks to the store.

    An audit that was interrupted goes on where it stopped when the same command is given again. A detector from
    elsewhere is brought into the store first: a module:attribute that makes it, an exported program (.pt2) or an ONNX
    file, with a card that says the dataset and the threshold.

    With --policy, what `assay approve` does is done as well, unsigned. Exit codes are then 0 PASS, 3 FAIL, 4 INVALID,
    5 INCONCLUSIVE, of several models the worst; without it 0. Always 2 usage, 1 error.

    \b
      assay audit demo:best --suite quick
      assay audit demo:best --suite quick --policy demo --junit verdict.xml
      assay audit detector.pt2 --suite standard
    """
    from rich.console import Console

    from assay.approval import policy, undecidable
    from assay.audits import suite
    from assay.cluster import user_code
    from assay.store import references
    from assay.store.store import Store

    if policy_name is None and (junit or summary):
        raise click.UsageError("--junit and --summary tell a verdict; give --policy, too")
    store, console = Store(root), Console(markup=False, emoji=False)  # brackets in paths and names are no markup
    for file in (suite_name, model, card or ""):
        if file.endswith((".yaml", ".yml")):
            user_code.beside(file)
    chosen = suite.read(suite_name)
    rules = policy.read(policy_name) if policy_name else None
    if rules:
        rules.refuse(chosen.name, "this audit", "give")
        for gate in undecidable.undecidable(rules, chosen):
            click.echo(f"note: this will be INCONCLUSIVE: {gate}", err=True)
    names = _models(store, model, card, options["device"])
    other = references.model(store, surrogate) if surrogate else None
    verdicts = []
    for name in names:
        where = {"workers": workers if workers or address else os.cpu_count(), "address": address}
        audit = _run(store, name, chosen, console, surrogate=other, **where, **options)
        console.print(_summary(store, audit))
        for line in _remarks(store, audit):
            console.print(line, soft_wrap=True, highlight=False)
        console.print(f"audit {audit}: {store.place(f'audits/{audit}')}", soft_wrap=True, highlight=False)
        if rules:
            verdicts.append(_decide(store, audit, rules))
            _verdict.tell(*verdicts[-1])
        else:
            fitting = "default" if chosen.name in ("standard", "exhaustive") else "FILE"
            again = f"assay approve {audit} --policy {fitting}{_options.store_option()}"
            console.print(f"decide with: {again}", soft_wrap=True, highlight=False)
        _mirror(store, audit, wandb, console)
    if verdicts:
        _verdict.write(verdicts, junit, summary)
        click.get_current_context().exit(_verdict.exit_code([verdict for verdict, _ in verdicts]))


def _models(store: Any, text: str, card_file: str | None, device: str) -> list[str]:
    """The hashes of the models that the command names, a detector from elsewhere brought into the store."""
    from assay.models import card
    from assay.store import references

    of_a_sweep = text.partition(":")[0] in store.names("sweeps")
    if card_file is not None or (card.names_detector(text) and not of_a_sweep):
        return [card.bring(store, text, card_file, device)]
    return references.models(store, text)


def _run(store: Any, name: str, suite: Any, console: Any, **options: Any) -> str:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from assay.audits import audit

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
        task = bar.add_task(f"audit {name[:12]} ({suite.name})", total=None)

        def on_progress(progress: Any) -> None:
            bar.update(task, completed=progress.done, total=progress.total)
            if not console.is_terminal:
                console.print(
                    f"  {progress.done}/{progress.total} {progress.work} {progress.seconds:.1f} s", highlight=False
                )

        return audit.run(store, name, suite, on_progress=on_progress, **options)


def _decide(store: Any, audit: str, rules: Any) -> tuple[Verdict, str]:
    """The verdict on an audit, which nobody has reviewed, and where its report is."""
    import datetime

    from assay.api import approve
    from assay.approval import review

    today = datetime.datetime.now(datetime.UTC).date()
    nobody = review.of(rules, reviewer=None, role="approver", author=None, expires=None, key=None, today=today)
    verdict = approve.approve(store, audit, rules, nobody, None)
    return verdict, str(store.place(f"audits/{audit}/report.html"))


def _remarks(store: Any, audit: str) -> list[str]:
    """What the reader of the figures must know: findings, attacks that could not be made, memory that ran out."""
    from assay.store.audit_reader import Audit

    info = Audit(store.below(f"audits/{audit}")).info
    found = [f"note: {finding['text']}" for finding in info["findings"]]
    found += [f"not made: {one['attack']}, for {one['why']}" for one in info["left_out"]]
    return found + [f"note: {note}" for note in info["notes"]]


def _mirror(store: Any, audit: str, enabled: bool, console: Any) -> None:
    """The audit on W&B."""
    from assay.tracking.mirror import Tracker

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with Tracker(store, f"audits/{audit}", f"assay publish {audit}{_options.store_option()}", say, enabled) as tracker:
        tracker.start()


def _rows(store: Any, audit: str, table: str) -> list[dict[str, Any]]:
    from assay.store import parquet, schemas

    schema = getattr(schemas, table.upper())
    rows: list[dict[str, Any]] = parquet.load(store, f"audits/{audit}/{table}.parquet", schema).to_pylist()
    return rows


def _summary(store: Any, audit: str) -> Any:
    """Clean and worst-case AUROC with intervals, and the checks."""
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
    failed = [check for check in checks if not check["passed"]]
    lines = [f"checks: {len(checks) - len(failed)} of {len(checks)} passed"]
    lines += [f"{'FAILED' if c['required'] else 'advice:'} {c['check']}: {c['evidence']}" for c in failed]
    found.caption = "\n".join(lines)
    found.caption_justify = "left"
    return found
