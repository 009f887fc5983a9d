"""Who stands behind a key: a file of fingerprints, people and roles, which lies outside of every store.

Without one, a valid signature says that some key made it, and the reviewer's name is what that key's owner wrote.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictInt, StringConstraints, ValidationError

from assay.approval.review import Review, letters, same_name
from assay.approval.signature import Key
from assay.approval.waiver import Words
from assay.config import validation, yaml_file
from assay.errors import Fault, SpecError

VARIABLE = "ASSAY_KEYS"


class Holder(BaseModel):
    """One key by the SHA-256 of its public PEM file, the person who holds it, and the roles it may sign in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    person: Words
    roles: Annotated[list[Words], Field(min_length=1)] = ["approver"]


class Keys(BaseModel):
    """The keys of everybody who may approve.

    signatures: how many people must sign, whatever the policy; it may ask for more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Annotated[list[Holder], Field(min_length=1)]
    signatures: Annotated[StrictInt, Ge(1), Le(9)] = 1
    _file: str = PrivateAttr("the keys file")

    @property
    def file(self) -> str:
        """The path of the file."""
        return self._file

    def person(self, fingerprint: str) -> str | None:
        """Whose key it is, by its fingerprint or the first 16 digits of it; None where it is not listed."""
        known = (one.person for one in self.keys if len(fingerprint) >= 16 and one.fingerprint.startswith(fingerprint))
        return next(known, None)

    def objection(self, key: Key, reviewer: str | None, role: str) -> str:
        """Why a signature by a key is not that of this reviewer in this role, or nothing."""
        holder = next((one for one in self.keys if one.fingerprint == key.fingerprint), None)
        if holder is None:
            return f"{self.file} does not hold the key {key.fingerprint[:16]}, so nobody known here signed with it"
        if not same_name(holder.person, reviewer):
            return f"the reviewer is called {reviewer}, and the key {key.fingerprint[:16]} is {holder.person}'s"
        if not any(same_name(role, allowed) for allowed in holder.roles):
            return f"{holder.person} may sign as {' or '.join(holder.roles)}, not as {role} ({self.file})"
        return ""


def read(path: str | Path) -> Keys:
    """The keys in a YAML file; raises SpecError with every fault, or InputError for one that cannot be read."""
    data = yaml_file.load(path)
    try:
        keys = Keys.model_validate(data)
    except ValidationError as error:
        raise SpecError(str(path), validation.from_validation(error, Keys, data)) from None
    prints = [one.fingerprint for one in keys.keys]
    if twice := [i for i, one in enumerate(prints) if one in prints[:i]]:
        faults = [Fault(f"keys.{i}.fingerprint", prints[i], "is listed already; a key is one person's") for i in twice]
        raise SpecError(str(path), faults)
    people = {letters(one.person) for one in keys.keys}
    if len(people) < keys.signatures:
        allowed = f"at most {len(people)}, as many as there are people among the keys"
        raise SpecError(str(path), [Fault("signatures", str(keys.signatures), allowed)])
    keys._file = str(path)
    return keys


def known(given: Path | str | None) -> Keys | None:
    """The keys of the file that is given, or named by ASSAY_KEYS, or `~/.config/assay/keys.yaml`; None without any.

    An empty ASSAY_KEYS means none.
    """
    if given is not None:
        return read(given)
    if (named := os.environ.get(VARIABLE)) is not None:
        return read(Path(named).expanduser()) if named else None
    usual = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "assay" / "keys.yaml"
    return read(usual) if usual.exists() else None


def objection(keys: Keys | None, key: Key, review: Review | None) -> str:
    """Why the signature of a key does not go with a review.json, or nothing."""
    if review is None:
        return "there is no review.json, so nobody says who approved it"
    if review.key != key.fingerprint:
        named = review.key[:16] if review.key else "none"
        return f"review.json names another key ({named}) than the one it is signed with ({key.fingerprint[:16]})"
    return keys.objection(key, review.reviewer, review.role) if keys else ""
