"""`assay report`: one self-contained page about an audit."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli import _options


@click.command()
@click.argument("audit", metavar="AUDIT|latest|SWEEP:best|SERVICE")
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
    from assay.api.report import report
    from assay.reports.pdf import FILE

    page = report(audit, pdf=as_pdf, output=output, store=root)
    click.echo(f"report: {page}")
    if as_pdf:
        click.echo(f"pdf: {page.removesuffix('report.html')}{FILE}")
