"""The records of the register: one small JSON file for every decision and every promotion, named by its time.

None is ever changed or removed.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from assay.approval.review import Review
from assay.approval.verdict import AppliedPolicy, Verdict, Word
from assay.errors import DataError
from assay.hashing import canonical
from assay.store import formats
from assay.store.store import Store

FOLDER = "register"


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision on an audit and who is responsible for it. key: fingerprint of the key that signed, if any."""

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


def decided(store: Store, verdict: Verdict, review: Review) -> None:
    """Record a decision."""
    about = {"model": verdict.model, "audit": verdict.audit, "verdict": verdict.verdict}
    policy = verdict.to_json()["policy"]
    _write(store, "decided", verdict.model, {**about, "policy": policy, **review.model_dump(mode="json")})


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
    store.write(f"{FOLDER}/{name}", canonical({**about, **content}))


def _read(store: Store, event: str, kind: type[Record]) -> Iterator[Record]:
    adapter = TypeAdapter(kind)
    for name in store.names(FOLDER):
        if name.endswith(".json") and f"-{event}-" in name:
            place = store.place(f"{FOLDER}/{name}")
            content = store.read_json(f"{FOLDER}/{name}")
            formats.check_content(content, "register", place)
            try:
                record: Record = adapter.validate_python(content)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise DataError(f"{place} is damaged ({where}: {first['msg']}); restore it from a copy") from error
            yield record
