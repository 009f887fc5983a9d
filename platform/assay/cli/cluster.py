"""`assay cluster`: cluster files for `ray up`, and the account that each is for."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def command() -> None:
    """Fill in a cluster file for `ray up`, and see before it what would fail.

    \b
      assay cluster fill cluster.yaml --stack assay-jane --output mine.yaml
      assay cluster check mine.yaml
    """


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--stack", required=True, help="The stack of docs/aws-account.yaml.")
@click.option("--region", help="Of the stack; default: that of your AWS settings.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The file to write; it must be new.")
def fill(file: Path, stack: str, region: str | None, output: Path) -> None:
    """Write a cluster file with the names and ids of what the stack made.

    \b
      assay cluster fill cluster.yaml --stack assay-jane --region us-west-2 --output mine.yaml
    """
    from assay.api.cluster import fill as filled
    from assay.errors import InputError

    text = filled(file, stack, region)
    try:
        with output.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError as error:
        raise InputError(f"{output} is there already; give another --output, or remove it") from error
    click.echo(f"{output}: filled in from the stack {stack}; next: assay cluster check {output}")
