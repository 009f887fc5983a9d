"""Approving an audit: the verdict, who stands for it, the report that shows both, and the signature over all of it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.api.arguments import StoreLike, policy_of, store_of
from assay.approval import judgement, predecessor, records, review, signature, verification
from assay.approval.policy import Policy
from assay.approval.review import Review
from assay.approval.signature import Key
from assay.approval.trust import countersignature, exclusive, people
from assay.approval.verdict import Verdict
from assay.errors import InputError
from assay.reports import page, pdf
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store


def approve(
    audit: str = "latest",
    policy: Mapping[str, Any] | Path | str = "default",
    *,
    key: Key | Path | str | None = None,
    password: str = "",
    reviewer: str | None = None,
    role: str = "approver",
    author: str | None = None,
    expires: datetime.date | None = None,
    because: str = "",
    keys: Path | str | None = None,
    store: StoreLike = None,
) -> Verdict:
    """Decide whether a model may be deployed: write verdict.json and review.json, renew the report, and sign.

    audit: as in `assay.open_audit`. policy: the name of a shipped one, a file, or a mapping. key: a private key to sign
    the audit and its model with, whatever the verdict; it needs `reviewer` and `author`. password: of an encrypted
    key. expires: when the approval ends, at the latest as the policy allows. because: why an earlier FAIL or
    INCONCLUSIVE on the same model no longer stands, which a PASS that approves must say. keys: as in `promote`.
    Raises InputError or SpecError for what is written wrongly, and for a reviewer who is not the key's owner;
    DataError where the audit or its model is not what it was.

    >>> verdict = assay.approve("latest", policy, store=store)
    >>> verdict.verdict, verdict.gates[0].decision
    ('PASS', 'PASS')
    """
    place, rules = store_of(store), policy_of(policy)
    name = references.audit(place, audit)
    signer = signature.private_key(key, lambda: password) if isinstance(key, str | Path) else key
    named = people.known(keys) if signer else None
    if signer and named and (objection := named.objection(signer, reviewer, role)):
        raise InputError(f"{objection}; nothing was written")
    reviewed = review.of(
        rules,
        reviewer=reviewer,
        role=role,
        author=author,
        expires=expires,
        key=signer.fingerprint if signer else None,
        today=datetime.datetime.now(datetime.UTC).date(),
    )
    return decide_and_sign(place, name, rules, reviewed, signer, because=because)


def countersign(
    audit: str = "latest",
    *,
    key: Key | Path | str,
    reviewer: str,
    password: str = "",
    keys: Path | str | None = None,
    store: StoreLike = None,
) -> Verdict:
    """Sign an approval as a second person, for a policy that asks for several (`signatures: 2`); returns its verdict.

    Nothing is decided again: the signature covers the same files as the first, of the audit and of its model.
    audit: as in `assay.open_audit`. key: that person's own private key, which the keys file (`keys`, as in `promote`)
    must list under the name `reviewer`. Raises InputError for a key or a person that cannot be the second, DataError or
    AssayError where the audit or its model is not what it was.

    >>> try:
    ...     assay.countersign("latest", key="second.pem", reviewer="Ann Lee", store=store)
    ... except assay.errors.InputError as error:
    ...     print(str(error).rpartition(": ")[2])
    give --keys
    """
    place, known = store_of(store), people.known(keys)
    if known is None:
        raise InputError("a second signature is another person's, and only a keys file says whose it is: give --keys")
    signer = signature.private_key(key, lambda: password) if isinstance(key, str | Path) else key
    name = references.audit(place, audit)
    with exclusive.model(place, Audit(references.folder(place, name)).info["model"]):
        return countersignature.countersign(place, name, reviewer, signer, known)


def decide_and_sign(
    store: Store, audit: str, policy: Policy, reviewed: Review, key: Key | None, *, because: str = ""
) -> Verdict:
    """Decide, write review.json and the report, sign the audit and its model where a key is given; returns the verdict.

    Former signatures of the audit are removed with the verdict they were made for. Raises AssayError before anything is
    written where the audit or its model is not what it was, or cannot be signed, or while somebody else decides on it.
    """
    with exclusive.model(store, Audit(references.folder(store, audit)).info["model"]):
        return _decide_and_sign(store, audit, policy, reviewed, key, because)


def _decide_and_sign(
    store: Store, audit: str, policy: Policy, reviewed: Review, key: Key | None, because: str
) -> Verdict:
    folder = references.folder(store, audit)
    model = store.below(f"models/{Audit(folder).info['model']}")
    if key:
        if not model.names():
            raise InputError(f"{model.root} is missing, and the model is signed too; bring its folder into this store")
        with folder.near() as near:
            verified = verification.of_audit(near, [], audit, decided=False)
            verification.require_good(verified, "restore it from a copy, or make it again; nothing was signed")
            signature.require_signable(near)
        signature.require_signable(model)
    former = signature.signatures(folder)
    verdict = judgement.decide(store, audit, policy, because=because)
    reviewed = _until_its_waivers_expire(reviewed, verdict)
    for name in former:
        folder.remove(name)
    store.write(f"audits/{audit}/{review.FILE}", reviewed.text())
    predecessor.comparison(store, audit)
    printed = folder.exists(pdf.FILE)
    with folder.near() as near:
        page.write(near)
        if printed:
            pdf.write(near)  # the old one showed the former verdict
        if key:
            signature.sign(model, key)
            signature.sign(near, key)
    records.decided(store, verdict, reviewed, because, key)
    return verdict


def _until_its_waivers_expire(reviewed: Review, verdict: Verdict) -> Review:
    """The review, which expires with the first waiver that the verdict depends on."""
    days = [waiver.expires for waiver in verdict.waivers if waiver.state == "used"]
    return reviewed.model_copy(update={"expires": min(filter(None, [reviewed.expires, *days]), default=None)})
