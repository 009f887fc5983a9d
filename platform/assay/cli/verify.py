"""`assay verify`: is a model or an audit still what was named and signed?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from assay.cli import _options
from assay.cli._plain import plain

SHOWN = 20


@click.command()
@click.argument("what", metavar="AUDIT|MODEL|FOLDER")
@click.option("--key", type=click.Path(path_type=Path), help="Public key (PEM) of the person who signed.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@_options.store
def command(what: str, key: Path | None, as_json: bool, root: str) -> None:
    """Hash every file again and say which were changed, are missing or are new since they were signed.

    Of an audit, its model is checked too. A folder may lie anywhere; no store is needed then. Without --key only the
    model is checked, by the hash it is named by, and no signature.

    Exit codes: 0 good, 3 changed or not signed by this key; 2 usage, 1 error.

    \b
      assay verify latest --key public.pem
      assay verify received/audits/d0da2750a763-standard-b68ee719 --key public.pem
    """
    import json

    from assay.approval import signature, verification
    from assay.store.store import Store

    found = verification.verify(Store(root), what, signature.public_key(key) if key else None)
    good = all(one.good for one in found)
    if as_json:
        listed = [{**_plain(one), "good": one.good} for one in found]
        click.echo(json.dumps({"good": good, "signature_checked": key is not None, "found": listed}, indent=2))
    else:
        for one in found:
            click.echo("\n".join(_lines(one)))
        if found[0].kind == "audit" and len(found) == 1:
            click.echo("its model was not checked: models/ beside it holds none that the audit names")
        if key is None:
            click.echo("no signature was checked; give --key with the public key of the person who signed")
    click.get_current_context().exit(0 if good else verification.CHANGED)


def _plain(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(found).items()}


def _lines(found: Any) -> list[str]:
    """A headline for a folder, and what was found of it below."""
    from assay.approval import verification

    told = verification.lines(found)
    more = [f"  and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
    files = f"{found.files} file{'s' if found.files != 1 else ''}"
    what = f"{files}, unchanged since they were signed" if found.signed else f"{files}, as its name says"
    if found.kind == "audit" and not found.signed:
        what = f"{files}; only a signature can hold them"
    head = f"{found.kind} {found.name}: {what if found.good else 'NOT as it was signed or named'}"
    lines = [head, *(f"  {line}" for line in told[:SHOWN]), *more]
    if found.says:
        lines.append(f"  says: {found.says}" + ("" if found.signed and found.good else " (not to be relied on)"))
    if found.unchecked:
        lines.append(f"  signatures not checked: {', '.join(found.unchecked)}")
    return [plain(line) for line in lines]
