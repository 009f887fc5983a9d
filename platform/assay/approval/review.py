"""Who looked at an audit and decided, by whose work, when and for how long: `review.json` in the audit's folder.

It lies in the folder that is signed, so a name or a date cannot be changed later.
"""

from __future__ import annotations

import datetime
import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from assay.errors import DataError, InputError
from assay.store import formats
from assay.store.store import Store, opened

if TYPE_CHECKING:
    from assay.approval.policy import Policy

FILE = "review.json"


class Review(BaseModel):
    """The record; `key` is the fingerprint of the key that signs, None where nothing is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reviewer: str | None
    role: str
    author: str | None
    date: datetime.date
    expires: datetime.date | None
    key: str | None

    @property
    def expired(self) -> bool:
        """Whether it no longer counts today (UTC)."""
        return self.expires is not None and datetime.datetime.now(datetime.UTC).date() >= self.expires

    def text(self) -> bytes:
        """The content of review.json."""
        version = {formats.FIELD: formats.written("review")}
        return json.dumps({**version, **self.model_dump(mode="json")}, indent=2).encode()


def of(
    policy: Policy,
    *,
    reviewer: str | None,
    role: str,
    author: str | None,
    expires: datetime.date | None,
    key: str | None,
    today: datetime.date,
) -> Review:
    """A review dated today, as the policy allows it; it expires after the policy's `valid_days` at the latest.

    Raises InputError: a signature needs both names, the two must differ unless the policy allows one person, the key
    must be of the policy's approvers, and the day it expires must be in the future.
    """
    if key and not policy.may_approve(key):
        raise InputError(
            f"policy {policy.name} does not list the key {key[:16]} among its approvers; sign with one it does"
        )
    if key and not (letters(reviewer) and letters(author)):
        raise InputError("a signature says who reviewed whose work; give --reviewer NAME and --author NAME")
    if reviewer and author and same_name(reviewer, author) and policy.same_person == "refused":
        raise InputError(
            f"author and reviewer are both {reviewer}, and policy {policy.name} wants two people; let somebody else "
            "review, or write `same_person: allowed` into a policy of your own"
        )
    if expires and expires <= today:
        raise InputError(f"--expires {expires} is in the past; give a day after {today}")
    last = today + datetime.timedelta(days=policy.valid_days) if policy.valid_days else None
    if expires and last and expires > last:
        raise InputError(f"--expires {expires}: policy {policy.name} allows {policy.valid_days} days, until {last}")
    return Review(reviewer=reviewer, role=role, author=author, date=today, expires=expires or last, key=key)


def read(folder: Store | Path) -> Review | None:
    """The review in an audit's folder, or None where nobody has decided; raises DataError for a damaged file."""
    folder = opened(folder)
    if not folder.exists(FILE):
        return None
    content = folder.read(FILE)
    try:
        values = json.loads(content)
        formats.check_content(values, "review", folder.place(FILE))
        if isinstance(values, dict):
            values.pop(formats.FIELD, None)
        return Review.model_validate(values)
    except ValueError as error:  # no JSON, or not these fields
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(f"{folder.place(FILE)} is damaged ({reason}); `assay approve` writes a new one") from error


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two names are the same to a reader."""
    return letters(one) == letters(other)


def letters(name: str | None) -> str:
    """What tells two names apart: not case, spaces, invisible characters, or how an accent is encoded."""
    return "".join(c for c in unicodedata.normalize("NFKC", name or "").casefold() if c.isprintable() and c != " ")
