"""Finding an audit in the store by what a person types, and writing its verdict."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pyarrow as pa

from assay.approval import decision
from assay.approval.gate_metrics import at_any_confidence
from assay.approval.policy import Policy
from assay.errors import InputError, UnknownName
from assay.hashing import digest
from assay.store import parquet, schemas, trials_table
from assay.store.audit_reader import Audit
from assay.store.store import Store


def find(store: Store, text: str) -> str:
    """The id of the audit that `text` names: an id or its beginning, `latest`, or `SWEEP:best` (the newest of it).

    Raises UnknownName or InputError. Only audits that were finished count.
    """
    newest = finished(store)
    if not newest:
        if not store.names("audits"):
            told = f"the store {store.root} holds no audit; make one with `assay audit`, or give another --store"
        else:
            told = f"no audit in the store {store.root} was finished; give the `assay audit` command again"
        raise InputError(told)
    if text == "latest":
        return newest[-1]
    if ":" in text:
        models = trials_table.models(store, text)
        found = [name for name in newest if Audit(folder(store, name)).info["model"] in models]
        if not found:
            raise InputError(
                f"'{text}' names no finished audit; run `assay audit {text}` first, or give the audit's id"
            )
        if len(models) > 1:
            raise InputError(f"'{text}' names {len(models)} models; give the id of one audit: {', '.join(found)}")
        return found[-1]
    matching = sorted(name for name in newest if name.startswith(text))
    if len(matching) == 1 or text in matching:
        return text if text in matching else matching[0]
    if matching:
        raise InputError(f"audit '{text}' is ambiguous: {', '.join(matching[:5])}; give more of it")
    raise UnknownName("audit", text, ["latest", *newest[-10:]])


def finished(store: Store) -> list[str]:
    """The ids of the audits that were finished, the newest last."""
    keys = {f"audits/{name}/audit.yaml": name for name in store.names("audits")}
    modified = store.modified(list(keys))
    return [keys[key] for key in sorted(modified, key=lambda key: modified[key])]


def folder(store: Store, audit: str) -> Store:
    """The folder of an audit."""
    return store.below(f"audits/{audit}")


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
