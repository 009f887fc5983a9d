"""The records of the register: one small JSON file for every decision and every promotion, named by its time.

None is ever changed or removed. Each holds the hash of those before it, by which a missing one is noticed.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from assay.approval.review import Review
from assay.approval.verdict import AppliedPolicy, Verdict, Word
from assay.errors import DataError
from assay.hashing import canonical, digest
from assay.store import formats
from assay.store.store import Store

FOLDER = "register"
BEFORE = "before"
"""The key under which a record names those it follows, each with its hash."""


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision on an audit and who is responsible for it.

    key: fingerprint of the key that signed, if any. because: why earlier decisions on the model no longer stand.
    decided: when the verdict was made; verdict_sha256: of its verdict.json; both empty in old records. time: when it
    was recorded. entry: the name of the record's file.
    """

    model: str
    audit: str
    verdict: Word
    policy: AppliedPolicy
    reviewer: str | None
    role: str
    author: str | None
    date: datetime.date
    expires: datetime.date | None
    key: str | None
    because: str = ""
    decided: str = ""
    verdict_sha256: str = ""
    time: str = ""
    entry: str = ""


@dataclass(frozen=True, kw_only=True)
class PromotionRecord:
    """A model put into service under a name. dataset: its content hash. key: as in DecisionRecord. time: ISO, UTC."""

    model: str
    name: str
    audit: str
    dataset: str | None
    by: str
    key: str | None
    time: str


Record = TypeVar("Record", DecisionRecord, PromotionRecord)


def decided(store: Store, verdict: Verdict, review: Review, because: str = "") -> None:
    """Record a decision. because: as in DecisionRecord."""
    about = {"model": verdict.model, "audit": verdict.audit, "verdict": verdict.verdict, "because": because}
    file = digest(store.read(f"audits/{verdict.audit}/verdict.json"))
    policy = {key: value for key, value in verdict.to_json()["policy"].items() if key != "values"}
    made = {"decided": verdict.created, "verdict_sha256": file, "policy": policy}
    _write(store, "decided", verdict.model, {**about, **made, **review.model_dump(mode="json")})


def promoted(store: Store, *, model: str, name: str, audit: str, dataset: str | None, by: str, key: str | None) -> None:
    """Record a promotion."""
    about = {"model": model, "name": name, "audit": audit, "dataset": dataset, "by": by, "key": key}
    _write(store, "promoted", model, about)


def decisions(store: Store) -> list[DecisionRecord]:
    """All decisions, the oldest first; raises DataError for a damaged record."""
    return list(_read(store, "decided", DecisionRecord))


def promotions(store: Store) -> list[PromotionRecord]:
    """All promotions, the oldest first; raises DataError for a damaged record."""
    return list(_read(store, "promoted", PromotionRecord))


def _write(store: Store, event: str, model: str, content: Mapping[str, object]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    name = f"{now:%Y%m%dT%H%M%S.%fZ}-{event}-{model[:12]}.json"
    about = {formats.FIELD: formats.written("register"), "event": event, "time": now.isoformat(timespec="seconds")}
    store.write(f"{FOLDER}/{name}", canonical({**about, BEFORE: _ends(store), **content}))


@dataclass(frozen=True)
class Gap:
    """A record that a later one follows and that is missing now, or has other content. entry: the name of its file."""

    entry: str
    what: Literal["missing", "changed"]


def gaps(store: Store) -> list[Gap]:
    """The records that are not as later records name them, the oldest first; of the newest nothing can be said."""
    entries = _entries(store)
    by_entry = {}
    for content in entries.values():
        for entry, hash in _before(content).items():
            if entry not in entries or digest(entries[entry]) != hash:
                by_entry[entry] = Gap(entry, "changed" if entry in entries else "missing")
    return [by_entry[entry] for entry in sorted(by_entry)]


def _ends(store: Store) -> dict[str, str]:
    """Name and SHA-256 of each record that no other follows yet: one, or several where two were written at once."""
    entries = _entries(store)
    followed = {entry for content in entries.values() for entry in _before(content)}
    return {entry: digest(content) for entry, content in entries.items() if entry not in followed}


def _entries(store: Store) -> dict[str, bytes]:
    names = [name for name in store.names(FOLDER) if name.endswith(".json")]
    return dict(zip(names, store.read_all([f"{FOLDER}/{name}" for name in names]), strict=True))


def _before(content: bytes) -> dict[str, str]:
    """What a record follows: file name -> SHA-256; nothing for an old record, or one that cannot be read."""
    try:
        before = json.loads(content)[BEFORE]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}
    return {str(entry): str(hash) for entry, hash in before.items()} if isinstance(before, dict) else {}


def _read(store: Store, event: str, kind: type[Record]) -> Iterator[Record]:
    adapter = TypeAdapter(kind)
    for name in store.names(FOLDER):
        if name.endswith(".json") and f"-{event}-" in name:
            place = store.place(f"{FOLDER}/{name}")
            content = store.read_json(f"{FOLDER}/{name}")
            formats.check_content(content, "register", place)
            if not isinstance(content, dict):
                raise DataError(f"{place} is damaged (it holds no mapping); restore it from a copy")
            try:
                record: Record = adapter.validate_python({**content, "entry": name})
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise DataError(f"{place} is damaged ({where}: {first['msg']}); restore it from a copy") from error
            yield record
