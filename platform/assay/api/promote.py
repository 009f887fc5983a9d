"""Put an approved model into service."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.api.arguments import KeyLike, StoreLike, public_keys, store_of
from assay.errors import InputError
from assay.store import references

if TYPE_CHECKING:
    from assay.approval.registry import Standing


@dataclass(frozen=True)
class Promotion:
    """A model that went into service.

    service: the name it serves under. former: the model it supersedes, if any. regression_against: the audit that its
    own audit shows a regression against, if any. signed: whether a signature was checked. heads: the hash of what is
    the last record of the register now (of several that were written at once, each): keep it elsewhere, for `verify`.
    """

    standing: Standing
    service: str
    former: Standing | None
    regression_against: str | None
    signed: bool
    heads: tuple[str, ...] = ()


def promote(
    model: str,
    *,
    service: str | None = None,
    by: str = "-",
    key: KeyLike = None,
    keys: Path | str | None = None,
    unsigned: bool = False,
    store: StoreLike = None,
) -> Promotion:
    """Promote a model to the name of a service; the model that held it until now is superseded.

    model: a hash or `SWEEP:best`. service: by default the name of its dataset. by: who promotes it. key: the approver's
    public key, or those of several people where the policy asks for so many. keys: a file that says whose key is whose,
    by default that of ASSAY_KEYS or `~/.config/assay/keys.yaml` where there is one. unsigned: take an approval that
    nobody signed, in a store where none is. Raises RefusedError where the audit decided last does not say PASS, has
    expired, is not signed by those keys or was changed since, or where the register knows of a later decision;
    InputError or UnknownName for a name that is not one model.

    >>> try:
    ...     assay.promote("demo:best", store=store)
    ... except assay.errors.RefusedError as error:
    ...     print("refused")
    refused
    """
    from assay.approval.trust import people, promotion, register_head

    public = public_keys(key)
    if unsigned and public:
        raise InputError("give a key or unsigned, not both")
    place = store_of(store)
    named = references.models(place, model)
    if len(named) != 1:
        raise InputError(f"'{model}' names {len(named)} models; promote one of them by its hash")
    today = datetime.datetime.now(datetime.UTC).date()
    trust = promotion.Trust(public, people.known(keys), unsigned)
    done = promotion.promote(place, named[0], service=service, by=by, trust=trust, today=today)
    name = service or done.standing.dataset
    heads = tuple(register_head.heads(place))
    return Promotion(done.standing, name, done.former, done.regression_against, bool(public), heads)
