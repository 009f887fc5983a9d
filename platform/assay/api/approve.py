"""Approving an audit: the verdict, who stands for it, the report that shows both, and the signature over all of it."""

from __future__ import annotations

import datetime
from typing import Any

from assay.approval import predecessor, registry, review, signature, verification
from assay.approval.policy import Policy
from assay.approval.review import Review
from assay.approval.signature import Key
from assay.approval.verdict import decide
from assay.errors import InputError
from assay.reports import page, pdf
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store


def approve(store: Store, audit: str, policy: Policy, told: Review, key: Key | None) -> dict[str, Any]:
    """Decide, write review.json and the report, sign the audit and its model where a key is given; returns the verdict.

    Former signatures of the audit end with the verdict they were made for. Raises AssayError before anything is written
    where the audit or its model is not what it was, or cannot be signed.
    """
    folder = references.folder(store, audit)
    model = store.below(f"models/{Audit(folder).info['model']}")
    if key:
        if not model.names():
            raise InputError(
                f"{model.root} is not there, and the model is signed too; bring its folder into this store"
            )
        with folder.near() as near:
            found = verification.of_audit(near, None, audit, decided=False)
            verification.require_good(found, "restore it from a copy, or make it again; nothing was signed")
            signature.require_signable(near)
        signature.require_signable(model)
    former = signature.signatures(folder)
    verdict = decide(store, audit, policy)
    told = _no_longer_than_its_waivers(told, verdict)
    for name in former:
        folder.remove(name)
    store.write(f"audits/{audit}/{review.FILE}", told.text())
    predecessor.comparison(store, audit)
    printed = folder.exists(pdf.FILE)
    with folder.near() as near:
        page.write(near)
        if printed:
            pdf.write(near)  # or there would be none of this verdict
        if key:
            signature.sign(model, key)
            signature.sign(near, key)
    about = {"model": verdict["model"], "audit": audit, "verdict": verdict["verdict"], "policy": verdict["policy"]}
    registry.record(store, "decided", {**about, **told.model_dump(mode="json")})
    return verdict


def _no_longer_than_its_waivers(told: Review, verdict: dict[str, Any]) -> Review:
    """The review, which expires with the first waiver that the verdict needs: without it the verdict is another."""
    days = [datetime.date.fromisoformat(one["expires"]) for one in verdict["waivers"] if one["state"] == "used"]
    return told.model_copy(update={"expires": min(filter(None, [told.expires, *days]), default=None)})
