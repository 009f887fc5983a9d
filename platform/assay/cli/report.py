"""`assay report`: one self-contained page about an audit."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli import _options


@click.command()
@click.argument("audit", metavar="AUDIT|latest|SWEEP:best")
@click.option("--pdf", "as_pdf", is_flag=True, help="Write report.pdf beside it (needs the extra `pdf`).")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Write there, not into the audit's folder; needed once that is signed.",
)
@_options.store
def command(audit: str, as_pdf: bool, output: Path | None, root: str) -> None:
    """Write report.html into the folder of an audit: no network, no script, prints well.

    \b
      assay report latest
      assay report latest --pdf --output .
    """
    from assay.approval import predecessor, signature
    from assay.errors import InputError
    from assay.reports import page, pdf
    from assay.store import references
    from assay.store.store import Store

    store = Store(root)
    name = references.audit(store, audit)
    folder = references.folder(store, name)
    if output is None and signature.signatures(folder):
        raise InputError(f"audit {name} is signed, and a file written into its folder would break that; add --output .")
    predecessor.comparison(store, name)
    into = Store(output) if output else folder
    click.echo(f"report: {page.write(folder, into)}")
    if as_pdf:
        click.echo(f"pdf: {pdf.write(into)}")
