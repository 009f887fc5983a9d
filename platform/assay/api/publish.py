"""Send sweeps and audits to W&B, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from assay.api.arguments import StoreLike, store_of
from assay.errors import InputError, TrackingError, UnknownName
from assay.store import references
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.tracking.publish import Outcome


def publish(
    *names: str,
    project: str | None = None,
    entity: str | None = None,
    store: StoreLike = None,
    on_outcome: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """Send sweeps and audits of the store to W&B; without names all, less sweeps whose search space turns W&B off.

    What is there already is not sent again. An outcome says in `why` what could not be sent. project, entity: by
    default as the search space and W&B's own settings say. on_outcome: called after each. Needs a key (`wandb login`).
    Raises TrackingError where W&B cannot be reached or refuses the key, InputError or UnknownName.
    """
    from assay.tracking import user_settings

    mode = user_settings.mode()
    if mode.source:
        raise InputError(f"{mode.source} says {mode.value}, so nothing is sent; WANDB_MODE=online sends it")
    place = store_of(store)
    outcomes = []
    for target, keys in _projects(place, names, project).items():
        for outcome in _send(place, keys, target, entity):
            outcomes.append(outcome)
            if on_outcome:
                on_outcome(outcome)
    return outcomes


def _projects(store: Store, names: tuple[str, ...], project: str | None) -> dict[str, list[str]]:
    """Project -> keys of what goes there, such as `sweeps/demo`; sweeps first, as reports on audits show them."""
    from assay.tracking import mirror

    sweeps = store.names("sweeps")
    keys = [_key(store, name) for name in names]
    if not names:
        finished = references.finished(store)
        tracked = [name for name in sweeps if mirror.settings(store, f"sweeps/{name}").wandb]
        keys = [f"sweeps/{name}" for name in tracked] + [f"audits/{name}" for name in finished]
    if not keys:
        raise InputError(f"the store {store.root} holds no sweep and no audit; give another --store")
    projects: dict[str, list[str]] = {}
    for key in sorted(dict.fromkeys(keys), reverse=True):
        projects.setdefault(project or mirror.project_of(store, key), []).append(key)
    return projects


def _key(store: Store, name: str) -> str:
    """`sweeps/NAME` or `audits/ID`, as a person names them."""
    if name in store.names("sweeps"):
        return f"sweeps/{name}"
    if not store.names("audits"):
        raise UnknownName("sweep or audit", name, store.names("sweeps"), store.root)
    try:
        return f"audits/{references.audit(store, name)}"
    except UnknownName as error:
        raise UnknownName("sweep or audit", name, [*store.names("sweeps"), *error.known], store.root) from error


def _send(store: Store, keys: list[str], project: str, entity: str | None) -> Iterator[Outcome]:
    from assay.tracking import publish as stage
    from assay.tracking.client import connected

    try:
        with connected(project, entity) as connection:
            for key in keys:
                kind, _, name = key.partition("/")
                yield stage.SENDERS[kind](connection, store, name)
    except TrackingError as error:
        raise TrackingError(f"{error}; nothing was sent to project {project}") from error
