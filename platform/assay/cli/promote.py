"""`assay promote`: put an approved model in service under a name."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli import _options
from assay.cli._plain import say


@click.command()
@click.argument("model", metavar="MODEL|SWEEP:best")
@click.option("--as", "name", help="The name it is to serve under; by default that of its dataset.")
@click.option("--by", default="-", help="Who promotes it.")
@click.option(
    "--key",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Public key of the approver; give it for each of several.",
)
@click.option("--unsigned", is_flag=True, help="Take an approval that nobody signed, where none of the store is.")
@_options.keys
@_options.store
def command(
    model: str, name: str | None, by: str, key: tuple[Path, ...], unsigned: bool, keys: Path | None, root: str
) -> None:
    """Promote a model to a name; the model that held the name until now is superseded.

    The audit decided last must say PASS and not have expired, the signature of that key must be valid and every file as
    it was signed, and the register must not know of a later decision.

    Exit codes: 0 promoted, 3 refused; 2 usage, 1 error.

    \b
      assay promote d0da2750a763 --key public.pem
      assay promote demo:best --as line-3 --by "Ann Lee" --key public.pem
    """
    from assay.api.promote import promote

    done = promote(model, service=name, by=by, key=key, keys=keys, unsigned=unsigned, store=root)
    standing, former = done.standing, done.former
    serves = f"{standing.name} ({standing.model[:12]}) serves as {done.service} now"
    say(f"{serves}, by audit {standing.audit}: {standing.verdict}")
    if former:
        say(f"it supersedes {former.name} ({former.model[:12]})")
    if done.regression_against:
        say(f"mind: its report shows a regression against audit {done.regression_against}")
    if done.heads:
        click.echo(_options.keep_head(done.heads))
    if not done.signed:
        click.echo("no signature was checked: approvals of this store are not signed")
