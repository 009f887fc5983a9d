"""`assay study`: detectors x datasets x seeds, compared on one page."""

from __future__ import annotations

import shlex

import click

from assay.cli import _options


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--append", metavar="AUDIT", multiple=True, hidden=True)  # of a leaderboard, as some expect
@click.option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster; default: this machine's cores.")
@_options.store
def command(file: str, append: tuple[str, ...], address: str | None, root: str) -> None:
    """Train every detector of study FILE on every dataset with every seed, and compare them on one page.

    \b
      assay study studies/small.yaml

    Give the command again to go on after an interruption, or after an addition to the file: what has ended is kept. A
    cell that cannot run is named in the table, and the others go on. Exit code 1 if a cell has no figures.
    """
    if append:
        raise click.UsageError(
            "a study compares on validation images, which nobody signs; signed audits of others go on a leaderboard: "
            f"assay leaderboard FOLDER {shlex.join(append)} --key PUBLIC.pem"
        )
    from assay.api.study import study
    from assay.cli._plain import say

    done = study(file, store=root, address=address, on_message=lambda text: say(str(text)))
    say(f"table: {done.page.removesuffix('study.html')}study.parquet")
    say(f"page: {done.page}")
    for result in done.missing:
        cell = result.cell
        say(f"missing: {cell.detector} on {cell.dataset}, seed {cell.seed}: {result.missing}")
    context = click.get_current_context()
    if done.interrupted:
        say(f"stopped early; go on with: assay study {file}{_options.store_option()}")
        context.exit({"interrupt": 130, "termination": 143}.get(done.interrupted, 0))
    context.exit(1 if done.missing else 0)
