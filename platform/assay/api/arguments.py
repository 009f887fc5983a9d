"""What the functions of the API accept: stores as objects, paths or URLs; files as paths or mappings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.contracts import Plain
from assay.errors import InputError
from assay.store import references
from assay.store.store import Store
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    from assay.approval.policy import Policy
    from assay.approval.signature import Key
    from assay.audits.suite import Suite

DEFAULT_STORE = "assay-store"

StoreLike = Store | Path | str | None
"""A store, its folder or URL; None: the variable ASSAY_STORE, or `assay-store` in the working directory."""


KeyLike = Path | str | Sequence[Path | str] | None
"""The file of a public key, or those of several people."""


def store_of(given: StoreLike) -> Store:
    """The store that is meant; raises InputError for anything else than StoreLike."""
    if isinstance(given, Store):
        return given
    if given is None:
        return Store(os.environ.get("ASSAY_STORE") or DEFAULT_STORE)
    if isinstance(given, str | Path):
        return Store(given)
    raise InputError(f"store: found {given!r}; give a folder, a URL such as s3://bucket/prefix, or a Store")


def public_keys(given: KeyLike) -> list[Key]:
    """The public keys that are meant; raises InputError for a file that holds none."""
    from assay.approval import signature

    paths = [given] if isinstance(given, str | Path) else given or []
    return [signature.public_key(path) for path in paths]


def one_model(store: Store, model: str | Trial, verb: str) -> str:
    """The hash of the one model that is meant; verb: what is done to it, for the message. Raises InputError."""
    if isinstance(model, Trial):
        if not model.model:
            raise InputError(f"trial {model.number} is {model.state} and has no model")
        return model.model
    from assay.models import card

    if card.names_file(model):
        if not Path(model).exists():
            raise InputError(f"there is no file {model}")
        raise InputError(
            f"{model} is a file, and a model of the store is wanted; bring it there by `assay audit {model}`, and give "
            "the hash that `assay models` shows"
        )
    hashes = references.models(store, model)
    if len(hashes) != 1:
        raise InputError(f"'{model}' names {len(hashes)} models; {verb} them one by one: {', '.join(hashes)}")
    return hashes[0]


def file_or_values(given: object, what: str) -> str | Plain:
    """The path of a YAML file as text, or a mapping of what it would hold; raises InputError for anything else."""
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, Mapping):
        return {str(key): value for key, value in given.items()}
    raise InputError(f"{what}: found {given!r}; give the path of a YAML file, or a mapping of what it would hold")


def suite_of(given: Mapping[str, Any] | Path | str) -> Suite:
    """A shipped suite by name, that of a file, or that of a mapping."""
    from assay.audits import suite

    source = file_or_values(given, "suite")
    if isinstance(source, str):
        from assay.cluster import user_code

        if source.endswith((".yaml", ".yml")):
            user_code.beside(source)
        return suite.read(source)
    return suite.of(source, "the suite")


def policy_of(given: Mapping[str, Any] | Path | str) -> Policy:
    """A shipped policy by name, that of a file, or that of a mapping."""
    from assay.approval import policy

    source = file_or_values(given, "policy")
    return policy.read(source) if isinstance(source, str) else policy.Policy.of(source, "the policy")
