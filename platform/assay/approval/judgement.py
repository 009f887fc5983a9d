"""An audit held against a policy: its figures and checks are judged, and the verdict written as verdict.json."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from assay.approval import decision
from assay.approval.gate_metrics import at_any_confidence
from assay.approval.policy import Policy
from assay.approval.verdict import Verdict
from assay.hashing import digest
from assay.store import parquet, schemas
from assay.store.audit_reader import Audit
from assay.store.references import folder
from assay.store.store import Store


def decide(store: Store, audit: str, policy: Policy, today: datetime.date | None = None) -> Verdict:
    """Judge an audit of the store, write its verdict.json and return what it says; see `judge`."""
    verdict = judge(Audit(folder(store, audit)), policy, today)
    store.write(f"audits/{audit}/verdict.json", json.dumps(verdict.to_json(), indent=2).encode())
    return verdict


def judge(audit: Audit, policy: Policy, today: datetime.date | None = None) -> Verdict:
    """The verdict on an audit under a policy; writes nothing.

    today: decides which waivers still count; by default the current date (UTC). Raises InputError for an audit by a
    suite that the policy does not judge, DataError where figures or checks cannot be relied on to be the audit's own.
    """
    now = datetime.datetime.now(datetime.UTC)
    name, model = audit.info["audit"], audit.info["model"]
    policy.refuse(audit.info["suite"]["name"], name, f"run assay audit {model[:12]}")
    figures = at_any_confidence(audit, _table(audit.folder, "metrics"), policy.gates)
    verdict = decision.decide(policy, figures, _table(audit.folder, "checks"), today or now.date())
    return dataclasses.replace(
        verdict,
        reasons=(*verdict.reasons, *_remarks(audit.info)),
        audit=name,
        model=model,
        judged=judged(audit.folder),
        created=now.isoformat(timespec="seconds"),
    )


def judged(folder: Store) -> dict[str, str]:
    """SHA-256 of the rows of each table that a verdict is based on, whatever their order."""
    return {name: _content(_table(folder, name)) for name in ("metrics", "checks")}


def _remarks(info: Mapping[str, Any]) -> Iterator[str]:
    """What the audit left out of its suite: the figures that decide are without it."""
    if limit := info.get("limit"):
        yield f"The audit is a screen: at most {limit} samples of each class were attacked (--limit)."
    for one in info.get("left_out", []):
        yield f"The audit is without {one['attack']} of its suite: {one['why']}."


def _table(folder: Store, name: str) -> pa.Table:
    return parquet.load(folder, f"{name}.parquet", getattr(schemas, name.upper()))


def _content(table: pa.Table) -> str:
    return digest("\n".join(sorted(json.dumps(row, sort_keys=True) for row in table.to_pylist())).encode())
