"""`assay verify`: is a model or an audit still what was named and signed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli import _options
from assay.cli._plain import plain

if TYPE_CHECKING:
    from assay.approval.trust.people import Keys
    from assay.approval.verification import Verification

SHOWN = 20


@click.command()
@click.argument("what", metavar="AUDIT|MODEL|FOLDER|FILE")
@_options.public_keys
@click.option(
    "--head",
    multiple=True,
    metavar="HASH",
    help="What approve or promote said to keep: the register must still hold that record and all before it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_options.keys
@_options.store
def command(
    what: str, key: tuple[Path, ...], head: tuple[str, ...], as_json: bool, keys: Path | None, root: str
) -> None:
    """Hash every file again and say which were changed, are missing or are new since they were signed.

    Of an audit or an exported file, its model is checked too. A folder may lie anywhere; no store is needed then.
    Without --key only the model is checked, by the hash it is named by, and no signature.

    Exit codes: 0 good, 3 changed or not signed by this key; 2 usage, 1 error.

    \b
      assay verify latest --key public.pem
      assay verify received/audits/d0da2750a763-standard-b68ee719 --key public.pem
    """
    import json
    from dataclasses import asdict

    from assay.api.verify import verify
    from assay.approval import verification
    from assay.approval.trust import people

    known = people.known(keys) if key else None
    results = verify(what, key=key, keys=keys, head=head, store=root)
    good = all(one.good for one in results)
    if as_json:
        listed = [{**asdict(one), "good": one.good} for one in results]
        click.echo(json.dumps({"good": good, "signature_checked": bool(key), "found": listed}, indent=2))
    else:
        for one in results:
            click.echo("\n".join(_lines(one, known)))
        if results[0].kind == "audit" and all(one.kind != "model" for one in results):
            click.echo("its model was not checked: models/ beside it holds none that the audit names")
        if not key:
            click.echo("no signature was checked; give --key with the public key of the person who signed")
    click.get_current_context().exit(0 if good else verification.CHANGED)


def _lines(verified: Verification, keys: Keys | None = None) -> list[str]:
    """A headline for a folder, and what is wrong with it below."""
    from assay.approval import verification

    wrong = verification.lines(verified)
    more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    files = f"{verified.files} file{'s' if verified.files != 1 else ''}"
    what = f"{files}, unchanged since they were signed" if verified.signed else f"{files}, as its name says"
    if verified.kind == "export":
        what = f"{files}, as compared with the detector"
    if verified.kind == "audit" and not verified.signed:
        what = f"{files}; only a signature can protect them"
    wrong_head = "NOT as it was compared" if verified.kind == "export" else "NOT as it was signed or named"
    head = f"{verified.kind} {verified.name}: {what if verified.good else wrong_head}"
    if verified.kind == "register":
        records = f"{verified.files} record{'s' if verified.files != 1 else ''}"
        head = f"register: {records}, {'none removed before that head' if verified.good else 'NOT as it was'}"
    lines = [head, *(f"  {line}" for line in wrong[:SHOWN]), *more]
    if verified.says:
        sure = verified.good and (verified.signed or verified.kind in ("export", "register"))
        lines.append(f"  says: {verified.says}" + ("" if sure else " (not to be relied on)"))
    if len(verified.signers) > 1:
        owners = [keys.person(one) if keys else None for one in verified.signers]
        named = (f"{one} ({owner})" if owner else one for one, owner in zip(verified.signers, owners, strict=True))
        lines.append(f"  signatures: {', '.join(named)}")
    if verified.unchecked:
        lines.append(f"  signatures not checked: {', '.join(verified.unchecked)}")
    return [plain(line) for line in lines]
