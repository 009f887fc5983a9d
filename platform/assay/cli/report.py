"""`assay report`: one self-contained page about an audit."""

from __future__ import annotations

import click

from assay.cli import _options


@click.command()
@click.argument("audit", metavar="AUDIT|latest|SWEEP:best")
@click.option("--pdf", "as_pdf", is_flag=True, help="Write report.pdf beside it (needs the extra `pdf`).")
@_options.store
def command(audit: str, as_pdf: bool, root: str) -> None:
    """Write report.html into the folder of an audit: no network, no script, prints well.

    \b
      assay report latest
      assay report latest --pdf
    """
    from assay import audits, pdf, predecessor, report
    from assay.store import Store

    store = Store(root)
    name = audits.find(store, audit)
    predecessor.comparison(store, name)
    page = report.write(audits.folder(store, name))
    click.echo(f"report: {page}")
    if as_pdf:
        click.echo(f"pdf: {pdf.write(page)}")
