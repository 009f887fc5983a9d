"""The register of models: which are audited, approved, rejected, superseded or expired, from files of the store alone.

`register/` holds one small JSON file for every decision and every promotion, by time. None is ever changed or removed;
what holds now is read from all of them, from the audits and from the calendar.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

from assay.approval import review, signature, verification
from assay.approval.signature import Key
from assay.errors import DataError, InputError
from assay.hashing import canonical
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store

FOLDER = "register"
REFUSED = 3
"""Exit code of the command line where a model is not promoted."""


@dataclass(frozen=True)
class Standing:
    """Where a model stands: the state, the day it began, by whom, and the audit that counts (the one decided last).

    name: `SWEEP:TRIAL`, or of a detector from elsewhere its own. decided: when. serves: the names it was promoted to
    and still holds.
    """

    model: str
    name: str
    dataset: str
    state: str
    since: str
    by: str
    audit: str
    verdict: str
    decided: str = ""
    serves: tuple[str, ...] = ()
    expires: datetime.date | None = None


def record(store: Store, event: str, content: dict[str, Any]) -> None:
    """Add a file to the register; the files' names sort by time."""
    now = datetime.datetime.now(datetime.UTC)
    name = f"{now:%Y%m%dT%H%M%S.%fZ}-{event}-{content['model'][:12]}.json"
    store.write(f"{FOLDER}/{name}", canonical({"event": event, "time": now.isoformat(timespec="seconds"), **content}))


def entries(store: Store, event: str) -> list[dict[str, Any]]:
    """What the register holds of one kind of event (`decided`, `promoted`), the oldest first."""
    names = [name for name in store.names(FOLDER) if name.endswith(".json") and f"-{event}-" in name]
    return [store.read_json(f"{FOLDER}/{name}") for name in names]


def standings(store: Store, today: datetime.date) -> list[Standing]:
    """Every audited model, those that serve first, then by state and name."""
    of: dict[str, Standing] = {}
    for audit in references.finished(store):
        one = _standing(Audit(references.folder(store, audit)), today)
        if one.model not in of or (one.decided, one.audit) > (of[one.model].decided, of[one.model].audit):
            of[one.model] = one
    promoted = entries(store, "promoted")
    holders = {one["name"]: one for one in promoted}
    for entry in promoted:
        if entry["model"] in of:
            of[entry["model"]] = _served(of[entry["model"]], holders[entry["name"]], holders)
    return sorted(of.values(), key=lambda one: (not one.serves, one.state, one.name))


def unaudited(store: Store, found: list[Standing]) -> list[str]:
    """The hashes of the models that are not among those found: without a finished audit."""
    audited = {one.model for one in found}
    return [name for name in store.names("models") if name not in audited]


def refusal(store: Store, standing: Standing, key: Key | None) -> str:
    """Why a model may not be promoted, or nothing: it needs a PASS that is valid today, signed if any approval is."""
    word = standing.verdict.split()[0] if standing.verdict else "no verdict"
    if word != "PASS":
        return f"its newest audit {standing.audit} says {word}; only a PASS can be promoted: assay approve"
    if standing.state == "audited":
        return (
            f"its PASS is by a policy that approves nothing: {standing.verdict}; decide by one that does: assay approve"
        )
    if standing.state == "expired":
        return f"its approval expired on {standing.expires}; approve it again: assay approve {standing.audit}"
    signs = any(one["key"] for one in entries(store, "decided"))
    signed = signs or bool(signature.signatures(references.folder(store, standing.audit)))
    if signed and key is None:
        return "approvals of this store are signed; give --key with the approver's public key"
    if not store.exists(f"models/{standing.model}"):
        return f"the store has no folder models/{standing.model}"
    found = verification.of_audit(references.folder(store, standing.audit), key, standing.audit)
    wrong = [f"{one.kind} {one.name}: {'; '.join(verification.lines(one)[:5])}" for one in found if not one.good]
    return ". ".join(wrong)


def promote(store: Store, standing: Standing, name: str, by: str, key: Key | None) -> Standing | None:
    """Put a model in service under a name; returns what it supersedes, where another model held the name."""
    before = next((one for one in reversed(entries(store, "promoted")) if one["name"] == name), None)
    if before and before["model"] == standing.model and before["audit"] == standing.audit:
        raise InputError(f"{standing.name} serves as {name} already, by audit {standing.audit}")
    dataset = Audit(references.folder(store, standing.audit)).info["dataset"].get("hash")
    about = {"model": standing.model, "name": name, "audit": standing.audit, "dataset": dataset, "by": by}
    record(store, "promoted", {**about, "key": key.fingerprint if key else None})
    today = datetime.datetime.now(datetime.UTC).date()
    former = before["model"] if before else None
    return next((one for one in standings(store, today) if one.model == former != standing.model), None)


def _standing(audit: Audit, today: datetime.date) -> Standing:
    """Where the model of one audit stands by this audit alone."""
    info, manifest = audit.info, _manifest(audit)
    sweep = manifest.get("sweep") or {}
    name = f"{sweep['name']}:{sweep['trial']}" if "trial" in sweep else manifest.get("name") or manifest.get("detector")
    plain = Standing(
        info["model"], str(name or "-"), str(info["dataset"]["name"]), "audited", str(info["created"])[:10], "-",
        info["audit"], "",
    )  # fmt: skip
    try:
        verdict, told = audit.verdict, review.read(audit.folder)
    except DataError:
        return replace(plain, verdict="cannot be read")
    if verdict is None:
        return plain
    passed = "approved" if verdict["policy"].get("approves", True) else "audited"
    state = {"PASS": passed, "FAIL": "rejected"}.get(verdict["verdict"], "audited")
    since, expires = str(verdict["created"])[:10], told.expires if told else None
    if state == "approved" and expires and today >= expires:
        state, since = "expired", str(expires)
    by = (told.reviewer if told else None) or "-"
    word = f"{verdict['verdict']} ({verdict['policy']['name']} {verdict['policy']['version']})"
    return replace(
        plain, state=state, since=since, by=by, verdict=word, decided=str(verdict["created"]), expires=expires
    )


def _manifest(audit: Audit) -> dict[str, Any]:
    try:
        return audit.manifest
    except DataError:
        return {}


def _served(standing: Standing, holder: dict[str, Any], holders: dict[str, dict[str, Any]]) -> Standing:
    """The standing of a model that was promoted to a name which `holder` has now: it serves, or was superseded."""
    serves = tuple(sorted(name for name, one in holders.items() if one["model"] == standing.model))
    if serves or standing.state not in ("approved", "superseded"):
        return replace(standing, serves=serves)
    return replace(standing, state="superseded", since=holder["time"][:10], by=holder["by"])
