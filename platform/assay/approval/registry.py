"""The register of models: which are audited, approved, rejected, superseded, expired or doubtful.

The current state is derived from the records of the register, from the audits of the store and from the date.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from assay.approval import records, review, signature
from assay.approval.records import PromotionRecord
from assay.approval.trust.memory import Memory
from assay.approval.verdict import Verdict, verdict_of
from assay.errors import DataError
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store

State = Literal["audited", "approved", "rejected", "superseded", "expired", "doubtful"]


@dataclass(frozen=True)
class Standing:
    """The state of a model, the day it began, who is responsible, and the audit that counts (the one decided last).

    name: `SWEEP:TRIAL`, or the own name of a detector from elsewhere. verdict: the word and the policy. decided: when.
    unsigned: that a PASS has fewer signatures than its policy asks for, which are counted here and checked elsewhere.
    serves: the names it was promoted to and still holds. objection: why the register speaks against the verdict in the
    folder, of a doubtful one.
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
    objection: str = ""
    unsigned: str = ""


def standings(store: Store, today: datetime.date) -> list[Standing]:
    """Every audited model, those that serve first, then by state and name."""
    memory = Memory.of(store)

    def newness(one: Standing) -> tuple[str, int, str]:
        return one.decided, memory.order(one.audit), one.audit

    of: dict[str, Standing] = {}
    for audit in references.readable(store)[0]:
        one = standing(audit, today)
        if one.decided and (objection := memory.objection(audit)):
            one = replace(one, state="doubtful", objection=objection)
        if one.model not in of or newness(one) > newness(of[one.model]):
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


def standing(audit: Audit, today: datetime.date) -> Standing:
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
    unsigned = _unsigned(audit, verdict)
    if verdict.passed and verdict.policy.approves and not unsigned:
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
        unsigned=unsigned,
    )


def _unsigned(audit: Audit, verdict: Verdict) -> str:
    """That a PASS which approves has fewer signatures than its policy asks for, or nothing."""
    wanted, there = verdict.policy.values.get("signatures", 1), len(signature.signatures(audit.folder))
    if not (verdict.passed and verdict.policy.approves and isinstance(wanted, int) and wanted > 1) or there >= wanted:
        return ""
    return f"policy {verdict.policy.name} asks for the signatures of {wanted} people, and its PASS has {there}"


def _manifest(audit: Audit) -> Mapping[str, Any]:
    try:
        return audit.manifest
    except DataError:
        return {}


def _served(of: Standing, holder: PromotionRecord, holders: dict[str, PromotionRecord]) -> Standing:
    """The standing of a model that was promoted to a name which `holder` has now: it serves, or was superseded."""
    serves = tuple(sorted(name for name, one in holders.items() if one.model == of.model))
    if serves or of.state not in ("approved", "superseded"):
        return replace(of, serves=serves)
    return replace(of, state="superseded", since=holder.time[:10], by=holder.by)
