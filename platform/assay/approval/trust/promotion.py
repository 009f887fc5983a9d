"""Putting an approved model into service: what is decided on is read once, hashed, verified, and only then believed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.approval import records, registry, signature, verification
from assay.approval.registry import Standing
from assay.approval.signature import Key
from assay.approval.trust import exclusive, redecision
from assay.approval.trust.hashed import HashedFolder, hashed
from assay.approval.trust.memory import Memory
from assay.approval.trust.people import Keys
from assay.approval.verdict import verdict_of
from assay.errors import InputError, RefusedError, StoreError
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store


@dataclass(frozen=True)
class Trust:
    """What vouches for an approval: the public keys it was signed with, and who may sign.

    unsigned: take one that nobody signed, in a store where none is signed.
    """

    given: Sequence[Key] = ()
    keys: Keys | None = None
    unsigned: bool = False


@dataclass(frozen=True)
class Promoted:
    """What was put into service. former: the model it supersedes. regression_against: the audit it is worse than."""

    standing: Standing
    former: Standing | None
    regression_against: str | None


def promote(store: Store, model: str, *, service: str | None, by: str, trust: Trust, today: datetime.date) -> Promoted:
    """Promote a model by its full hash to a name, by default that of its dataset.

    Raises RefusedError without an audit whose PASS is valid today and verified, InputError where it serves already,
    StoreError while somebody else decides on the model or promotes another one to that name.
    """
    with exclusive.model(store, model):
        standing, dataset, compared = _approved(store, model, trust, today)
        name = service or standing.dataset
        with exclusive.service(store, name):
            before = next((one for one in reversed(records.promotions(store)) if one.name == name), None)
            if before and before.model == model and before.audit == standing.audit:
                raise InputError(f"{standing.name} already serves as {name}, by audit {standing.audit}")
            key = trust.given[0].fingerprint if trust.given else None
            records.promoted(store, model=model, name=name, audit=standing.audit, dataset=dataset, by=by, key=key)
    replaced = before.model if before and before.model != model else None
    standings = registry.standings(store, today) if replaced else []  # anew: its state has just changed
    former = next((one for one in standings if one.model == replaced), None)
    regression = compared["a"]["audit"] if compared and compared.get("regression") else None
    return Promoted(standing, former, regression)


def _approved(
    store: Store, model: str, trust: Trust, today: datetime.date
) -> tuple[Standing, str | None, Mapping[str, Any] | None]:
    """The standing of a model, the hash of its images and the comparison of its audit; raises as `promote` does."""
    listed = next((one for one in registry.standings(store, today) if one.model == model), None)
    if listed is None:
        raise RefusedError(f"not promoted: {model[:12]}: it has no finished audit; run assay audit first")
    try:
        with hashed(references.folder(store, listed.audit)) as folder:
            audit = Audit(folder)
            standing = registry.standing(audit, today)
            why = refusal(store, folder, standing, trust)
            if standing.model != model:
                why = f"audit {listed.audit} is of another model now"
            dataset, compared = audit.info["dataset"].get("hash"), audit.comparison if not why else None
    except StoreError as error:
        why = str(error)
    if why:
        raise RefusedError(f"not promoted: {model[:12]}: {why}")
    return standing, dataset, compared


def refusal(store: Store, folder: HashedFolder, standing: Standing, trust: Trust) -> str:
    """Why a model must not be promoted, or nothing: it needs a PASS that is valid today, and trusted.

    folder: of the audit; standing: read from it.
    """
    given, keys = trust.given, trust.keys
    word = standing.verdict.split()[0] if standing.verdict else "no verdict"
    if word != "PASS":
        return f"its newest audit {standing.audit} says {word}; only a PASS can be promoted: assay approve"
    if standing.unsigned:
        return f"{standing.unsigned}; the next person signs: assay approve {standing.audit} --countersign"
    if standing.state == "audited":
        return (
            f"its PASS is by a policy that approves nothing: {standing.verdict}; decide by one that does: assay approve"
        )
    if standing.state == "expired":
        return f"its approval expired on {standing.expires}; approve it again: assay approve {standing.audit}"
    signs = any(decision.key for decision in records.decisions(store))
    signed = signs or bool(signature.signatures(folder))
    if signed and not given:
        return "approvals of this store are signed; give --key with the approver's public key"
    if not given and keys:
        return f"{keys.file} says who may approve, so an unsigned approval is not enough; give --key"
    if not given and not trust.unsigned:
        return (
            "nobody has signed its PASS, so it is as good as whoever can write to the store; sign it (assay approve "
            "--key) and give --key here, or say --unsigned"
        )
    if not store.exists(f"models/{standing.model}"):
        return f"the store has no folder models/{standing.model}"
    verified = verification.of_audit(folder, given, standing.audit, keys=keys)
    wrong = [f"{one.kind} {one.name}: {'; '.join(verification.lines(one)[:5])}" for one in verified if not one.good]
    audit = Audit(folder)
    if not wrong and not Memory.of(store, verification.first(audit, given)).records(audit):
        return (
            f"the register holds no such decision on audit {standing.audit}: it was decided in another store, or "
            "its record was removed; restore register/ from a copy, or decide again: assay approve"
        )
    verdict = verdict_of(audit)
    if not wrong and not given and verdict:
        policy = redecision.policy_of(verdict)
        if policy is None:
            return "its verdict does not hold its policy, as an older Assay wrote it; decide again: assay approve"
        if not policy.may_approve(None):
            rule = "lists its approvers" if policy.approvers else f"asks for {policy.signatures} signatures"
            return f"policy {policy.name} {rule}, so an unsigned approval is not enough"
    return ". ".join(wrong)
