"""The register of models: which are audited, approved, rejected, superseded or expired.

The current state is derived from the records of the register, from the audits of the store and from the date.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from assay.approval import records, review, signature, verification
from assay.approval.records import PromotionRecord
from assay.approval.signature import Key
from assay.approval.verdict import verdict_of
from assay.errors import DataError, InputError
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store

State = Literal["audited", "approved", "rejected", "superseded", "expired"]
REFUSED = 3
"""Exit code of the command line where a model is not promoted."""


@dataclass(frozen=True)
class Standing:
    """The state of a model, the day it began, who is responsible, and the audit that counts (the one decided last).

    name: `SWEEP:TRIAL`, or the own name of a detector from elsewhere. verdict: the word and the policy. decided: when.
    serves: the names it was promoted to and still holds.
    """

    model: str
    name: str
    dataset: str
    state: State
    since: str
    by: str
    audit: str
    verdict: str
    decided: str = ""
    serves: tuple[str, ...] = ()
    expires: datetime.date | None = None


def standings(store: Store, today: datetime.date) -> list[Standing]:
    """Every audited model, those that serve first, then by state and name."""
    of: dict[str, Standing] = {}
    for audit in references.finished(store):
        one = _standing(Audit(references.folder(store, audit)), today)
        if one.model not in of or (one.decided, one.audit) > (of[one.model].decided, of[one.model].audit):
            of[one.model] = one
    promotions = records.promotions(store)
    holders = {promotion.name: promotion for promotion in promotions}
    for promotion in promotions:
        if promotion.model in of:
            of[promotion.model] = _served(of[promotion.model], holders[promotion.name], holders)
    return sorted(of.values(), key=lambda one: (not one.serves, one.state, one.name))


def unaudited(store: Store, listed: list[Standing]) -> list[str]:
    """The hashes of the models that are not among those listed: they have no finished audit."""
    audited = {one.model for one in listed}
    return [name for name in store.names("models") if name not in audited]


def refusal(store: Store, standing: Standing, key: Key | None) -> str:
    """Why a model must not be promoted, or nothing: it needs a PASS that is valid today, signed if any approval is."""
    word = standing.verdict.split()[0] if standing.verdict else "no verdict"
    if word != "PASS":
        return f"its newest audit {standing.audit} says {word}; only a PASS can be promoted: assay approve"
    if standing.state == "audited":
        return (
            f"its PASS is by a policy that approves nothing: {standing.verdict}; decide by one that does: assay approve"
        )
    if standing.state == "expired":
        return f"its approval expired on {standing.expires}; approve it again: assay approve {standing.audit}"
    signs = any(decision.key for decision in records.decisions(store))
    signed = signs or bool(signature.signatures(references.folder(store, standing.audit)))
    if signed and key is None:
        return "approvals of this store are signed; give --key with the approver's public key"
    if not store.exists(f"models/{standing.model}"):
        return f"the store has no folder models/{standing.model}"
    verified = verification.of_audit(references.folder(store, standing.audit), key, standing.audit)
    wrong = [f"{one.kind} {one.name}: {'; '.join(verification.lines(one)[:5])}" for one in verified if not one.good]
    return ". ".join(wrong)


def promote(store: Store, standing: Standing, name: str, by: str, key: Key | None) -> Standing | None:
    """Put a model in service under a name; returns what it supersedes, where another model held the name."""
    before = next((one for one in reversed(records.promotions(store)) if one.name == name), None)
    if before and before.model == standing.model and before.audit == standing.audit:
        raise InputError(f"{standing.name} already serves as {name}, by audit {standing.audit}")
    dataset = Audit(references.folder(store, standing.audit)).info["dataset"].get("hash")
    records.promoted(
        store,
        model=standing.model,
        name=name,
        audit=standing.audit,
        dataset=dataset,
        by=by,
        key=key.fingerprint if key else None,
    )
    today = datetime.datetime.now(datetime.UTC).date()
    former = before.model if before else None
    return next((one for one in standings(store, today) if one.model == former != standing.model), None)


def _standing(audit: Audit, today: datetime.date) -> Standing:
    """The standing of a model by one of its audits alone."""
    info, manifest = audit.info, _manifest(audit)
    sweep = manifest.get("sweep") or {}
    name = f"{sweep['name']}:{sweep['trial']}" if "trial" in sweep else manifest.get("name") or manifest.get("detector")
    plain = Standing(
        info["model"], str(name or "-"), str(info["dataset"]["name"]), "audited", str(info["created"])[:10], "-",
        info["audit"], "",
    )  # fmt: skip
    try:
        verdict, reviewed = verdict_of(audit), review.read(audit.folder)
    except DataError:
        return replace(plain, verdict="cannot be read")
    if verdict is None:
        return plain
    state: State = "audited"
    if verdict.verdict == "PASS" and verdict.policy.approves:
        state = "approved"
    elif verdict.verdict == "FAIL":
        state = "rejected"
    since, expires = verdict.created[:10], reviewed.expires if reviewed else None
    if state == "approved" and expires and today >= expires:
        state, since = "expired", str(expires)
    return replace(
        plain,
        state=state,
        since=since,
        by=(reviewed.reviewer if reviewed else None) or "-",
        verdict=f"{verdict.verdict} ({verdict.policy.name} {verdict.policy.version})",
        decided=verdict.created,
        expires=expires,
    )


def _manifest(audit: Audit) -> Mapping[str, Any]:
    try:
        return audit.manifest
    except DataError:
        return {}


def _served(standing: Standing, holder: PromotionRecord, holders: dict[str, PromotionRecord]) -> Standing:
    """The standing of a model that was promoted to a name which `holder` has now: it serves, or was superseded."""
    serves = tuple(sorted(name for name, one in holders.items() if one.model == standing.model))
    if serves or standing.state not in ("approved", "superseded"):
        return replace(standing, serves=serves)
    return replace(standing, state="superseded", since=holder.time[:10], by=holder.by)
