"""A second person's signature over what the first decided and signed.

The decision itself is not touched: every signature covers the same files, and none the other signatures.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.approval import review, signature, verification
from assay.approval.policy import Policy
from assay.approval.review import Review, same_name
from assay.approval.signature import Key
from assay.approval.trust import quorum, redecision
from assay.approval.trust.hashed import HashedFolder
from assay.approval.trust.people import Keys
from assay.approval.verdict import Verdict, verdict_of
from assay.errors import InputError, StoreError
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store


def countersign(store: Store, audit: str, reviewer: str, key: Key, keys: Keys) -> Verdict:
    """Sign an audit, on which somebody else decided and signed, and its model, by another person's private key.

    Returns the verdict. Raises InputError for a key or a name that cannot be the second, AssayError where the audit or
    its model is not what it was; nothing is written then.
    """
    place = references.folder(store, audit)
    with place.near() as near:
        folder = HashedFolder(near)
        decided = Audit(folder)
        verdict, reviewed = verdict_of(decided), review.read(folder)
        signed = signature.signers(folder)
        if verdict is None or reviewed is None or not reviewed.key or reviewed.key[:16] not in signed:
            raise InputError(
                f"audit {audit} has no signed decision; the first person decides and signs: assay approve {audit} "
                "--policy POLICY --key KEY.pem --reviewer NAME --author NAME"
            )
        policy = redecision.policy_of(verdict)
        if objection := _objection(key, reviewer, reviewed, signed, policy, keys):
            raise InputError(f"{objection}; nothing was signed")
        verified = verification.of_audit(folder, [], audit)
        verification.require_good(verified, "find out who changed it; nothing was signed")
        model = store.below(f"models/{verdict.model}")
        if not model.names():
            raise InputError(f"{model.root} is missing, and the model is signed too; bring its folder into this store")
        signature.require_signable(model)
        signature.sign(near, key)
        if signature.listed(near, key) != folder.files:
            near.remove(key.file)
            raise StoreError(f"{place.place()} was changed while it was being signed; find out who writes there")
        signature.sign(model, key)
    return verdict


def _objection(
    key: Key, reviewer: str, reviewed: Review, signed: Sequence[str], policy: Policy | None, keys: Keys
) -> str:
    """Why this key cannot be another person's beside those that signed, or nothing."""
    if objection := keys.objection(key, reviewer, reviewed.role):
        return objection
    if reviewed.expired:
        return f"the decision expired on {reviewed.expires}; decide again: assay approve"
    others = [one for one in signed if one != key.file.removesuffix(signature.SUFFIX)]  # one's own is made anew
    for one in (reviewed.key or "", *others):
        if same_name(keys.person(one), reviewer):
            return f"{reviewer} has signed already, with the key {one[:16]}; a second signature is another person's"
    return quorum.not_allowed(key.fingerprint, reviewer, reviewed, policy)
