"""`assay report`: one self-contained page about an audit."""

from __future__ import annotations

import click

from assay.cli import _options


@click.command()
@click.argument("audit", metavar="AUDIT|latest|SWEEP:best")
@_options.store
def command(audit: str, root: str) -> None:
    """Write report.html into the folder of an audit: no network, no script, prints well.

    \b
      assay report latest
    """
    from assay import audits, report
    from assay.store import Store

    store = Store(root)
    click.echo(f"report: {report.write(audits.folder(store, audits.find(store, audit)))}")
