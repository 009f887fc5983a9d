"""`assay publish`: send sweeps and audits to W&B, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from assay.cli import _options

if TYPE_CHECKING:
    from assay.tracking.publish import Outcome


@click.command()
@click.argument("names", nargs=-1, metavar="[SWEEP|AUDIT|latest]...")
@click.option("--project", metavar="NAME", help="Default: WANDB_PROJECT, else what the search space says.")
@click.option("--entity", metavar="NAME", help="User or team; default: WANDB_ENTITY, else the key's own.")
@_options.store
def command(names: tuple[str, ...], project: str | None, entity: str | None, root: str) -> None:
    """Send sweeps and audits of the store to W&B; without names all of them, less sweeps
    whose search space turns W&B off.

    What is there already is not sent again, so the command can be given at any time, and again after an outage. A
    sweep becomes a group of runs, an audit a run with tables, artifacts and a report. Needs a key: `wandb login`.

    \b
      assay publish demo latest
      assay publish --project robustness
    """
    from assay.api.publish import publish

    def say(outcome: Outcome) -> None:
        name = outcome.what.partition(" ")[2]
        click.echo(outcome.text(f"assay publish {name}{_options.store_option()}"))

    if any(outcome.why for outcome in publish(*names, project=project, entity=entity, store=root, on_outcome=say)):
        click.get_current_context().exit(1)
