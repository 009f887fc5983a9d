"""`assay ui`: a local page to watch a store."""

from __future__ import annotations

import click

from assay.cli import _options


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1; default: any that is free.")
@_options.store
def command(port: int, root: str) -> None:
    """Show the store on a page in the browser: sweeps as they run, studies, audits, reports, the register of models.

    \b
      assay ui
      assay ui --store s3://bucket/prefix --port 8420

    The page is for this machine only and changes nothing. Its address holds a token; without it nothing is shown. From
    another machine: ssh -L 8420:127.0.0.1:8420 HOST. Ctrl-C ends it.
    """
    from assay.api.ui import serve
    from assay.cli._plain import say
    from assay.store.store import Store

    store = Store(root)

    def ready(address: str) -> None:
        say(f"{address}   (Ctrl-C ends it)")
        if not store.names():
            click.echo(f"note: the store {store.root} is empty; --store or ASSAY_STORE names another", err=True)

    serve(store, port=port, on_ready=ready)
