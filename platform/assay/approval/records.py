"""The records of the register: one small JSON file for every decision and every promotion, named by its time.

None is ever changed or removed. Each holds the hash of those before it, by which a missing one is noticed, and is
signed where its decision is. A record that cannot be read is passed over and named among the gaps.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from assay.approval import signature
from assay.approval.policy import limits
from assay.approval.review import Review
from assay.approval.signature import Key
from assay.approval.trust import register_chain
from assay.approval.trust.register_chain import BEFORE
from assay.approval.verdict import AppliedPolicy, Verdict, Word
from assay.errors import DataError, StoreError
from assay.hashing import canonical, digest
from assay.store import formats
from assay.store.services import FOLDER as FOLDER
from assay.store.store import Store

ENTRY = "entry"
"""The key under which a record holds its own name, so that none is put in another's place."""
STAMP = "%Y%m%dT%H%M%S.%fZ"
"""How the name of a record begins: its time."""
SIGNATURE = "signature"
"""The key of its signature, which is over all other keys."""


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision on an audit and who is responsible for it.

    key: fingerprint of the key that signed, if any. because: why earlier decisions on the model no longer stand.
    decided: when the verdict was made; verdict_sha256: of its verdict.json; limits: the gates of its policy in words;
    signature: by that key, over the rest of the record; all four empty in old records. time: when it was recorded.
    entry: the name of the record's file.
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
    limits: tuple[str, ...] = ()
    signature: str = ""
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
ADAPTERS: Mapping[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (DecisionRecord, PromotionRecord)}


def decided(store: Store, verdict: Verdict, review: Review, because: str = "", key: Key | None = None) -> None:
    """Record a decision. because: as in DecisionRecord. key: the private one that signs it."""
    about = {"model": verdict.model, "audit": verdict.audit, "verdict": verdict.verdict, "because": because}
    file = digest(store.read(f"audits/{verdict.audit}/verdict.json"))
    policy = {key: value for key, value in verdict.to_json()["policy"].items() if key != "values"}
    gates = list(limits(verdict.policy.name, verdict.policy.values))
    made = {"decided": verdict.created, "verdict_sha256": file, "policy": policy, "limits": gates}
    _write(store, "decided", verdict.model, {**about, **made, **review.model_dump(mode="json")}, key)


def promoted(store: Store, *, model: str, name: str, audit: str, dataset: str | None, by: str, key: str | None) -> None:
    """Record a promotion."""
    about = {"model": model, "name": name, "audit": audit, "dataset": dataset, "by": by, "key": key}
    _write(store, "promoted", model, about)


def decisions(store: Store) -> list[DecisionRecord]:
    """All decisions, the oldest first, but those that `gaps` names as damaged; raises DataError for a newer version."""
    return list(_read(store, "decided", DecisionRecord))


def promotions(store: Store) -> list[PromotionRecord]:
    """All promotions; see `decisions`."""
    return list(_read(store, "promoted", PromotionRecord))


def now(store: Store) -> datetime.datetime:
    """The time in UTC, but later than any record: their order is that of their names, and clocks differ.

    Where another machine, whose clock is ahead, wrote the last record, it is just after that one.
    """
    time = datetime.datetime.now(datetime.UTC)
    for name in reversed(store.names(FOLDER)):
        with contextlib.suppress(ValueError, OverflowError):  # not a name of ours
            written = datetime.datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=datetime.UTC)
            return max(time, written + datetime.timedelta(microseconds=1))
    return time


def _write(store: Store, event: str, model: str, content: Mapping[str, object], key: Key | None = None) -> None:
    time = now(store)
    name = f"{time:{STAMP}}-{event}-{model[:12]}.json"
    about = {formats.FIELD: formats.written("register"), "event": event, "time": time.isoformat(timespec="seconds")}
    record = {**about, ENTRY: name, BEFORE: register_chain.ends(store), **content}
    if key:
        record[SIGNATURE] = signature.of_text(canonical(record), key)
    store.write(f"{FOLDER}/{name}", canonical(record))


@dataclass(frozen=True)
class Gap:
    """A record that cannot be relied on. entry: the name of its file.

    missing, changed: a later one follows it, and it is not there, or has other content. damaged: it cannot be read.
    unsigned: it names a key and is not signed with it.
    """

    entry: str
    what: Literal["missing", "changed", "damaged", "unsigned"]


def gaps(store: Store, key: Key | None = None) -> list[Gap]:
    """The records that cannot be relied on, the oldest first; that the newest is gone cannot be known.

    key: a public one; without it no signature is checked.
    """
    entries = register_chain.entries(store)
    by_entry = {entry: Gap(entry, "damaged") for entry, content in entries.items() if not _readable(store, entry)}
    if key:
        forged = [entry for entry, content in entries.items() if not _signed(entry, content, key)]
        by_entry |= {entry: Gap(entry, "unsigned") for entry in forged if entry not in by_entry}
    for content in entries.values():
        for entry, hash in register_chain.before(content).items():
            if entry not in entries or digest(entries[entry]) != hash:
                by_entry[entry] = Gap(entry, "changed" if entry in entries else "missing")
    return [by_entry[entry] for entry in sorted(by_entry)]


def damaged(store: Store, model: str) -> list[str]:
    """The names of the records of decisions on a model that cannot be read, the oldest first."""
    return [gap.entry for gap in gaps(store) if gap.what == "damaged" and f"-decided-{model[:12]}." in gap.entry]


def _signed(entry: str, content: bytes, key: Key) -> bool:
    """Whether the record of a decision is signed with a key, if it names that key."""
    try:
        record = json.loads(content)
        if record.get("key") != key.fingerprint or "-decided-" not in entry:
            return True
        given = record.pop(SIGNATURE, "")
        if not given and BEFORE not in record:
            return True  # an older version wrote it
    except (ValueError, RecursionError, AttributeError):
        return True  # it is damaged
    return signature.holds(canonical(record), str(given), key)


def _readable(store: Store, entry: str) -> bool:
    """Whether a record is what its name says."""
    if "-decided-" in entry:
        return _record(store, entry, ADAPTERS[DecisionRecord]) is not None
    return "-promoted-" not in entry or _record(store, entry, ADAPTERS[PromotionRecord]) is not None


def _read(store: Store, event: str, kind: type[Record]) -> Iterator[Record]:
    adapter = ADAPTERS[kind]
    for name in store.names(FOLDER):
        if name.endswith(".json") and f"-{event}-" in name and (record := _record(store, name, adapter)) is not None:
            yield record


def _record(store: Store, name: str, adapter: TypeAdapter[Record]) -> Record | None:
    """A record, or None where it cannot be read, or where it is that of another name or model."""
    try:
        content = store.read_json(f"{FOLDER}/{name}")
        formats.check_content(content, "register", store.place(f"{FOLDER}/{name}"))
        if not isinstance(content, dict) or content.get(ENTRY, name) != name:
            return None
        record = adapter.validate_python({**content, ENTRY: name})
        return record if f"-{record.model[:12]}." in name else None
    except formats.NewerFormatError:
        raise
    except (StoreError, DataError, ValidationError):
        return None
