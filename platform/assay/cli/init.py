"""`assay init`: a first search space, policy and pipeline."""

from __future__ import annotations

import click


@click.command()
@click.argument("folder", default=".", metavar="[FOLDER]")
def command(folder: str) -> None:
    """Write a first search space, policy and GitHub workflow into FOLDER, to be changed; nothing is overwritten.

    \b
      assay init line-9
    """
    from assay.api.init import init

    files = init(folder)
    click.echo("\n".join(str(file) for file in files))
    at = "" if folder == "." else f"cd {folder}; "
    click.echo(f"next: {at}assay validate search-space.yaml policy.yaml; assay sweep search-space.yaml")
