"""`assay ls`: what there is on the shelves."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("shelf", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(shelf: str | None, as_json: bool) -> None:
    """List the shelves, or what is on one of them.

    \b
      assay ls
      assay ls attacks
    """
    from assay import shelves
    from assay.cli._plain import table

    if shelf is None:
        listed = {name: shelves.names(name) for name in sorted(shelves.PACKAGES)}
        rows = [(name, ", ".join(items) or "(empty)") for name, items in listed.items()]
        click.echo(json.dumps(listed, indent=2) if as_json else table(rows))
        return
    summaries = {}
    for name in shelves.names(shelf):
        document = (shelves.load(shelf, name).__doc__ or "").strip()
        summaries[name] = document.splitlines()[0] if document else ""
    click.echo(json.dumps(summaries, indent=2) if as_json else table(list(summaries.items())))
