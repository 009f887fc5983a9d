"""The approved model that a candidate would replace, and the comparison with it that goes into the report."""

from __future__ import annotations

import json
from typing import Any

from assay.approval import registry, signature
from assay.errors import AssayError
from assay.metrics import paired_comparison
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store

FILE = "comparison.json"


def of(store: Store, audit: Audit) -> dict[str, Any] | None:
    """The newest promotion of another model on the same dataset, or None where there is none."""
    info = audit.info
    same = [one for one in registry.entries(store, "promoted") if one["dataset"] == info["dataset"].get("hash")]
    return next((one for one in reversed(same) if one["model"] != info["model"]), None)


def comparison(store: Store, name: str) -> None:
    """Compare an audit with that of its approved predecessor, unasked, into its comparison.json.

    Leaves a comparison that somebody asked for (`assay compare`) as it is, and a signed folder too. What cannot be
    compared is recorded with the reason.
    """
    audit = Audit(references.folder(store, name))
    former = of(store, audit)
    if former is None or signature.signatures(audit.folder):
        return
    made = audit.comparison
    if made and ("approved_as" not in made or made["a"]["audit"] == former["audit"]):
        return
    try:
        found = paired_comparison.compare(Audit(references.folder(store, former["audit"])), audit).to_json()
    except AssayError as error:
        about = {
            side: {"audit": one["audit"], "model": one["model"]} for side, one in (("a", former), ("b", audit.info))
        }
        found = {**about, "not_compared": str(error)}
    found["approved_as"] = former["name"]
    store.write(f"audits/{name}/{FILE}", json.dumps(found, indent=2).encode())
