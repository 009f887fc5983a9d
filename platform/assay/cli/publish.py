"""`assay publish`: send sweeps and audits to W&B, each once."""

from __future__ import annotations

from typing import Any

import click

from assay.cli import _options


@click.command()
@click.argument("names", nargs=-1, metavar="[SWEEP|AUDIT|latest]...")
@click.option("--project", metavar="NAME", help="Default: WANDB_PROJECT, else what the search space says.")
@click.option("--entity", metavar="NAME", help="User or team; default: WANDB_ENTITY, else the key's own.")
@_options.store
def command(names: tuple[str, ...], project: str | None, entity: str | None, root: str) -> None:
    """Send sweeps and audits of the store to W&B; without names all of them, less sweeps
    whose search space turns W&B off.

    What is there already is not sent again, so the command can be given at any time, and again after an outage. A
    sweep becomes a group of runs, an audit a run with tables, artifacts and a report. Needs a key: `wandb login`.

    \b
      assay publish demo latest
      assay publish --project robustness
    """
    from assay.errors import InputError
    from assay.store.store import Store
    from assay.tracking import mirror

    if mirror.mode() in ("disabled", "offline"):
        raise InputError(f"WANDB_MODE is {mirror.mode()}, so nothing may be sent; unset it and give this again")
    store = Store(root)
    failed = 0
    for target, keys in _projects(store, names, project).items():
        failed += _send(store, keys, target, entity)
    if failed:
        raise SystemExit(1)


def _projects(store: Any, names: tuple[str, ...], project: str | None) -> dict[str, list[str]]:
    """Project -> keys of what goes there, such as `sweeps/demo`; sweeps first, as reports on audits show them."""
    from assay.errors import InputError
    from assay.store import references
    from assay.tracking import mirror

    sweeps = store.names("sweeps")
    keys = [_key(store, name) for name in names]
    if not names:
        finished = references.finished(store)
        tracked = [name for name in sweeps if mirror.settings(store, f"sweeps/{name}").get("wandb", True)]
        keys = [f"sweeps/{name}" for name in tracked] + [f"audits/{name}" for name in finished]
    if not keys:
        raise InputError(f"the store {store.root} holds no sweep and no audit; give another --store")
    found: dict[str, list[str]] = {}
    for key in sorted(dict.fromkeys(keys), reverse=True):
        found.setdefault(project or mirror.project_of(store, key), []).append(key)
    return found


def _key(store: Any, name: str) -> str:
    """`sweeps/NAME` or `audits/ID`, as a person names them."""
    if name in store.names("sweeps"):
        return f"sweeps/{name}"
    from assay.errors import UnknownName
    from assay.store import references

    if not store.names("audits"):
        raise UnknownName("sweep or audit", name, store.names("sweeps"))
    try:
        return f"audits/{references.audit(store, name)}"
    except UnknownName as error:
        raise UnknownName("sweep or audit", name, [*store.names("sweeps"), *error.known]) from error


def _send(store: Any, keys: list[str], project: str, entity: str | None) -> int:
    """Send to one project; returns how much could not be sent."""
    from assay.errors import TrackingError
    from assay.tracking import publish
    from assay.tracking.client import connected

    failed = 0
    try:
        with connected(project, entity) as connection:
            for key in keys:
                kind, _, name = key.partition("/")
                outcome = publish.SENDERS[kind](connection, store, name)
                click.echo(outcome.text(f"assay publish {name}{_options.store_option()}"))
                failed += bool(outcome.why)
    except TrackingError as error:
        raise TrackingError(f"{error}; nothing was sent to project {project}") from error
    return failed
