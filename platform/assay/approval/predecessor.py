"""The approved model that a candidate would replace, and the comparison with it that goes into the report."""

from __future__ import annotations

import json

from assay.approval import records, signature
from assay.approval.records import PromotionRecord
from assay.errors import AssayError
from assay.metrics import paired_comparison
from assay.store import formats, references
from assay.store.audit_reader import Audit
from assay.store.store import Store

FILE = "comparison.json"


def of(store: Store, audit: Audit) -> PromotionRecord | None:
    """The newest promotion of another model on the same dataset, or None where there is none."""
    dataset, model = audit.info["dataset"].get("hash"), audit.info["model"]
    newest_first = reversed(records.promotions(store))
    return next((one for one in newest_first if one.dataset == dataset and one.model != model), None)


def comparison(store: Store, name: str) -> None:
    """Compare an audit with that of its approved predecessor, unasked, into its comparison.json.

    Leaves a comparison that somebody asked for (`assay compare`) as it is, and a signed folder as well. What cannot be
    compared is recorded with the reason.
    """
    audit = Audit(references.folder(store, name))
    former = of(store, audit)
    if former is None or signature.signatures(audit.folder):
        return
    kept = audit.comparison
    if kept and ("approved_as" not in kept or kept["a"]["audit"] == former.audit):
        return
    try:
        content = paired_comparison.compare(Audit(references.folder(store, former.audit)), audit).to_json()
    except AssayError as error:
        content = {
            formats.FIELD: formats.written("comparison"),
            "a": {"audit": former.audit, "model": former.model},
            "b": {"audit": audit.info["audit"], "model": audit.info["model"]},
            "not_compared": str(error),
        }
    content["approved_as"] = former.name
    store.write(f"audits/{name}/{FILE}", json.dumps(content, indent=2).encode())
