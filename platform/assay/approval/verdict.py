"""The verdict on an audit: its figures and checks held against a policy, and written as verdict.json."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pyarrow as pa

from assay.approval import decision
from assay.approval.gate_metrics import at_any_confidence
from assay.approval.policy import Policy
from assay.hashing import digest
from assay.store import parquet, schemas
from assay.store.audit_reader import Audit
from assay.store.references import folder
from assay.store.store import Store


def decide(store: Store, audit: str, policy: Policy, today: datetime.date | None = None) -> dict[str, Any]:
    """Hold an audit against a policy, write verdict.json and return its content.

    today: decides which waivers still count; by default the day it is (UTC). Raises InputError for an audit by a suite
    that the policy does not judge.
    """
    now = datetime.datetime.now(datetime.UTC)
    about = Audit(folder(store, audit))
    model = about.info["model"]
    policy.refuse(about.info["suite"]["name"], audit, f"run assay audit {model[:12]}")
    figures = at_any_confidence(about, _table(about.folder, "metrics"), policy.gates)
    verdict = decision.decide(policy, figures, _table(about.folder, "checks"), today or now.date())
    verdict["reasons"] += _remarks(about.info)
    created = now.isoformat(timespec="seconds")
    whole = {**verdict, "audit": audit, "model": model, "judged": judged(about.folder), "created": created}
    store.write(f"audits/{audit}/verdict.json", json.dumps(whole, indent=2).encode())
    return whole


def judged(folder: Store) -> dict[str, str]:
    """SHA-256 of the rows of each table that a verdict is made of, whatever their order."""
    return {name: _content(_table(folder, name)) for name in ("metrics", "checks")}


def _remarks(info: dict[str, Any]) -> list[str]:
    """What the audit did not do, though its suite may: the figures that decide are without it."""
    found = []
    if limit := info.get("limit"):
        found.append(f"The audit is a screen: at most {limit} samples of each class were attacked (--limit).")
    left_out = info.get("left_out", [])
    return found + [f"The audit is without {one['attack']} of its suite: {one['why']}." for one in left_out]


def _table(folder: Store, name: str) -> pa.Table:
    return parquet.load(folder, f"{name}.parquet", getattr(schemas, name.upper()))


def _content(table: pa.Table) -> str:
    return digest("\n".join(sorted(json.dumps(row, sort_keys=True) for row in table.to_pylist())).encode())
