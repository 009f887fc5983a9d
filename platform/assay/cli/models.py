"""`assay models`: which models were audited, approved, rejected, superseded, or have expired."""

from __future__ import annotations

from typing import Any

import click

from assay.cli import _options
from assay.cli._plain import plain


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also the models without an audit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_options.store
def command(everything: bool, as_json: bool, root: str) -> None:
    """List the models with their state, those in service first.

    approved: the audit decided last says PASS. rejected: it says FAIL. superseded: approved, but another model was
    promoted to its name. expired: approved until then. audited: nothing was decided, or INVALID or INCONCLUSIVE.
    doubtful: the register holds a later decision than the audit, or another one.

    \b
      assay models
    """
    import dataclasses
    import datetime
    import json

    from assay.approval import records, registry
    from assay.cli._plain import table
    from assay.store import references
    from assay.store.store import Store

    store, today = Store(root), datetime.datetime.now(datetime.UTC).date()
    standings = registry.standings(store, today)
    bare = registry.unaudited(store, standings)
    gaps = [f"{records.FOLDER}/{gap.entry} is {gap.what}; restore it from a copy" for gap in records.gaps(store)]
    unread = references.readable(store)[1]
    damaged = [*gaps, *(f"audit {name} is passed over: {error}" for name, error in unread.items())]
    if as_json:
        listed = [dataclasses.asdict(one) for one in standings]
        content = {"models": listed, "without_audit": bare, "damaged": damaged}
        click.echo(json.dumps(content, indent=2, default=str))
        return
    head = ("name", "model", "dataset", "state", "serves as", "since", "by", "audit", "verdict")
    rows = [tuple(map(plain, (*_cells(one), one.audit, one.verdict or "-"))) for one in standings]
    if rows:
        click.echo(table([head, *rows]))
    for one in standings:
        for what in filter(None, (one.objection, one.unsigned)):
            click.echo(plain(f"mind: {one.name} ({one.model[:12]}): {what}"))
    for sentence in damaged:
        click.echo(plain(f"mind: {sentence}"))
    if everything:
        click.echo("\n".join(f"{name[:12]}  no audit" for name in bare))
    elif not (bare or rows or store.names()):
        click.echo(plain(f"there is nothing in the store {store.root}, or no such store; --store names another"))
    elif bare or not rows:
        click.echo(f"{len(bare)} model{'s' if len(bare) != 1 else ''} without an audit")


def _cells(one: Any) -> tuple[str, ...]:
    return one.name, one.model[:12], one.dataset, one.state, ", ".join(one.serves) or "-", one.since, one.by
