"""`assay promote`: put an approved model in service under a name."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli import _options
from assay.cli._plain import plain


@click.command()
@click.argument("model", metavar="MODEL|SWEEP:best")
@click.option("--as", "name", help="The name it is to serve under; by default that of its dataset.")
@click.option("--by", default="-", help="Who promotes it.")
@click.option(
    "--key", type=click.Path(path_type=Path), help="Public key of the approver; needed if approvals are signed."
)
@_options.store
def command(model: str, name: str | None, by: str, key: Path | None, root: str) -> None:
    """Promote a model to a name; the model that held the name until now is superseded.

    The audit decided last must say PASS and not have expired, and once any approval of the store is signed, its
    signature must be valid and every file as it was signed.

    Exit codes: 0 promoted, 3 refused; 2 usage, 1 error.

    \b
      assay promote d0da2750a763 --key public.pem
      assay promote demo:best --as line-3 --by "Ann Lee" --key public.pem
    """
    import datetime

    from assay.approval import registry, signature
    from assay.errors import InputError
    from assay.store import references
    from assay.store.audit_reader import Audit
    from assay.store.store import Store

    store, today = Store(root), datetime.datetime.now(datetime.UTC).date()
    public = signature.public_key(key) if key else None
    named = references.models(store, model)
    if len(named) != 1:
        raise InputError(f"'{model}' names {len(named)} models; promote one of them by its hash")
    standing = next((one for one in registry.standings(store, today) if one.model == named[0]), None)
    why = registry.refusal(store, standing, public) if standing else "it has no finished audit; run assay audit first"
    if standing is None or why:
        click.echo(plain(f"not promoted: {named[0][:12]}: {why}"), err=True)
        click.get_current_context().exit(registry.REFUSED)
    service = name or standing.dataset
    former = registry.promote(store, standing, service, by, public)
    serves = f"{standing.name} ({standing.model[:12]}) serves as {service} now"
    click.echo(plain(f"{serves}, by audit {standing.audit}: {standing.verdict}"))
    if former:
        click.echo(f"it supersedes {former.name} ({former.model[:12]})")
    compared = Audit(store.below(f"audits/{standing.audit}")).comparison
    if compared and compared.get("regression"):
        click.echo(f"mind: its report shows a regression against audit {compared['a']['audit']}")
    if public is None:
        click.echo("no signature was checked: approvals of this store are not signed")
