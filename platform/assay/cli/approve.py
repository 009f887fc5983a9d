"""`assay approve`: hold an audit against a policy."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli import _options, _verdict
from assay.cli._plain import plain, say

if TYPE_CHECKING:
    from assay.store.store import Store


@click.command()
@click.argument("audit", metavar="AUDIT|latest|SWEEP:best|SERVICE")
@click.option("--policy", "policy_name", help="default, demo or a YAML file.")
@click.option("--key", type=click.Path(path_type=Path), help="Sign with this private key (PEM, elliptic curve).")
@click.option("--reviewer", help="Who reviewed the audit; needed to sign.")
@click.option("--role", default="approver", show_default=True, help="What the reviewer is.")
@click.option("--author", help="Who made the model; needed to sign, somebody else than the reviewer.")
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="First day on which the decision no longer counts.",
)
@click.option("--because", default="", metavar="REASON", help="Why an earlier FAIL or INCONCLUSIVE no longer stands.")
@click.option("--countersign", is_flag=True, help="Sign as a second person what another has decided and signed.")
@_verdict.files
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@_options.keys
@_options.store
def command(
    audit: str,
    policy_name: str | None,
    key: Path | None,
    reviewer: str | None,
    role: str,
    author: str | None,
    expires: datetime.datetime | None,
    because: str,
    countersign: bool,
    junit: Path | None,
    summary: Path | None,
    as_json: bool,
    keys: Path | None,
    root: str,
) -> None:
    """Decide whether a model may be deployed: write verdict.json, renew report.html, and exit with the verdict.

    With --key, the audit's folder and the model's are signed, whatever the verdict. The password of an encrypted key is
    asked for, or taken from ASSAY_KEY_PASSWORD.

    With --countersign nothing is decided again: a second person signs, for a policy that asks for several signatures.

    Exit codes: 0 PASS, 3 FAIL, 4 INVALID (the audit cannot be trusted), 5 INCONCLUSIVE; 2 usage, 1 error.

    \b
      assay approve latest --policy default
      assay approve latest --policy default --key key.pem --reviewer "Jane Doe" --author "Max Roe"
      assay approve latest --countersign --key second.pem --reviewer "Ann Lee"
    """
    import json

    from assay.api.approve import approve
    from assay.api.audit import open_audit
    from assay.approval import policy, signature
    from assay.approval.trust import register_head
    from assay.store.store import Store

    store = Store(root)
    if countersign:
        if policy_name or author or expires or because or junit or summary or as_json:
            raise click.UsageError("--countersign decides nothing; it goes with --key, --reviewer and --keys alone")
        if not (key and reviewer):
            raise click.UsageError("--countersign needs --key and --reviewer")
        _countersign(store, audit, key, reviewer, keys)
        return
    if not policy_name:
        raise click.UsageError("Missing option '--policy'.")
    policy.read(policy_name)  # whatever is wrong with it is said before a password is asked for
    opened = open_audit(audit, store=store)
    signer = signature.private_key(key, _password) if key else None
    former = signature.signers(opened.reader.folder)
    verdict = approve(
        opened.id,
        policy_name,
        key=signer,
        reviewer=reviewer,
        role=role,
        author=author,
        expires=expires.date() if expires else None,
        because=because,
        keys=keys,
        store=store,
    )
    name, page = opened.id, f"{opened.location}/report.html"
    _verdict.write([(verdict, page)], junit, summary)
    if as_json:
        click.echo(json.dumps(verdict.to_json(), indent=2))
    else:
        _verdict.tell(verdict, page)
        if former:
            say(f"the former verdict is gone, and its signature with it: {', '.join(former)}")
        click.echo(_signed(name, reviewer, signer.fingerprint if signer else ""))
        if signer:
            click.echo(_options.keep_head(register_head.heads(store)))
        if (wanted := policy.read(policy_name).signatures) > 1 and verdict.passed:
            say(f"policy {verdict.policy.name} asks for the signatures of {wanted} people: {_next(name)}")
    click.get_current_context().exit(_verdict.exit_code([verdict]))


def _countersign(store: Store, audit: str, key: Path, reviewer: str, keys: Path | None) -> None:
    """A second signature, and a line about it."""
    from assay.api.approve import countersign
    from assay.api.audit import open_audit
    from assay.approval import signature

    name = open_audit(audit, store=store).id
    signer = signature.private_key(key, _password)
    verdict = countersign(name, key=signer, reviewer=reviewer, keys=keys, store=store)
    say(f"{verdict.verdict} under policy {verdict.policy.name} version {verdict.policy.version}")
    click.echo(plain(_signed(name, reviewer, signer.fingerprint)))


def _next(audit: str) -> str:
    """The command of the next person who signs."""
    return f"assay approve {audit} --countersign --key KEY.pem --reviewer NAME{_options.store_option()}"


def _password() -> str:
    """The password of an encrypted key; never an option, for other users see a command's words."""
    if given := os.environ.get("ASSAY_KEY_PASSWORD"):
        return given
    if not sys.stdin.isatty():
        raise click.UsageError("the key is encrypted; put its password into the variable ASSAY_KEY_PASSWORD")
    return str(click.prompt("password of the key", hide_input=True, err=True))


def _signed(audit: str, reviewer: str | None, fingerprint: str) -> str:
    if not fingerprint:
        return "not signed; give --key to sign"
    again = f"assay verify {audit} --key PUBLIC.pem{_options.store_option()}"
    return f"signed by {reviewer} with key {fingerprint[:16]}; anybody can check it: {again}"
