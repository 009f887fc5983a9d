"""Put an approved model into service."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.api.arguments import StoreLike, store_of
from assay.errors import InputError, RefusedError
from assay.store import references
from assay.store.audit_reader import Audit

if TYPE_CHECKING:
    from assay.approval.registry import Standing


@dataclass(frozen=True)
class Promotion:
    """A model that went into service.

    service: the name it serves under. former: the model it supersedes, if any. regression_against: the audit that its
    own audit shows a regression against, if any. signed: whether a signature was checked.
    """

    standing: Standing
    service: str
    former: Standing | None
    regression_against: str | None
    signed: bool


def promote(
    model: str, *, service: str | None = None, by: str = "-", key: Path | str | None = None, store: StoreLike = None
) -> Promotion:
    """Promote a model to the name of a service; the model that held it until now is superseded.

    model: a hash or `SWEEP:best`. service: by default the name of its dataset. by: who promotes it. key: the approver's
    public key, needed where approvals are signed. Raises RefusedError where the audit decided last does not say PASS,
    has expired, or was changed since it was signed; InputError or UnknownName for a name that is not one model.

    >>> try:
    ...     assay.promote("demo:best", store=store)
    ... except assay.errors.RefusedError as error:
    ...     print("refused")
    refused
    """
    from assay.approval import registry, signature

    place = store_of(store)
    public = signature.public_key(Path(key)) if key is not None else None
    named = references.models(place, model)
    if len(named) != 1:
        raise InputError(f"'{model}' names {len(named)} models; promote one of them by its hash")
    today = datetime.datetime.now(datetime.UTC).date()
    standing = next((one for one in registry.standings(place, today) if one.model == named[0]), None)
    why = registry.refusal(place, standing, public) if standing else "it has no finished audit; run assay audit first"
    if standing is None or why:
        raise RefusedError(f"not promoted: {named[0][:12]}: {why}")
    name = service or standing.dataset
    former = registry.promote(place, standing, name, by, public)
    compared = Audit(references.folder(place, standing.audit)).comparison
    against = compared["a"]["audit"] if compared and compared.get("regression") else None
    return Promotion(standing, name, former, against, public is not None)
