"""How many people must sign before a PASS counts, and whether the signatures that were checked are of so many."""

from __future__ import annotations

from collections.abc import Sequence

from assay.approval.policy import Policy
from assay.approval.review import Review, same_name
from assay.approval.signature import Key
from assay.approval.trust import redecision
from assay.approval.trust.people import Keys
from assay.approval.verdict import Verdict


def wanted(verdict: Verdict, keys: Keys | None = None) -> int:
    """How many people must have signed before a PASS counts; raises DataError where the verdict's policy is none."""
    policy = redecision.policy_of(verdict)
    return max(policy.signatures if policy else 1, keys.signatures if keys else 1)


def shortage(verdict: Verdict, reviewed: Review | None, given: Sequence[Key], keys: Keys | None) -> str:
    """Why the valid signatures of some public keys are not those of as many people as must sign, or nothing.

    Only a PASS needs more than one. reviewed: of the first, whose own name and key are `people.objection`'s to check.
    """
    need = wanted(verdict, keys)
    if need == 1 or not verdict.passed or reviewed is None:
        return ""
    asks = f"policy {verdict.policy.name}" if keys is None or keys.signatures < need else keys.file
    asks += f" asks for the signatures of {need} people"
    if keys is None:
        return f"{asks}, and only a keys file says whose the keys are: give --keys FILE"
    people: list[str] = []
    for key in given:
        person, policy = keys.person(key.fingerprint) or "", redecision.policy_of(verdict)
        objection = keys.objection(key, person, reviewed.role) or not_allowed(key.fingerprint, person, reviewed, policy)
        if objection:
            return objection
        if not any(same_name(person, one) for one in people):
            people.append(person)
    if len(people) >= need:
        return ""
    return (
        f"{asks}, and only {' and '.join(people)} signed with a key that was given; give --key for each of them (who "
        f"has not signed yet: assay approve {verdict.audit} --countersign)"
    )


def not_allowed(fingerprint: str, person: str, reviewed: Review, policy: Policy | None) -> str:
    """Why a policy does not let somebody sign, or nothing."""
    if policy is None:
        return ""
    if not policy.may_approve(fingerprint):
        return f"policy {policy.name} does not list the key {fingerprint[:16]} among its approvers"
    if policy.same_person == "refused" and same_name(person, reviewed.author):
        return f"{person} is the author of the model, and policy {policy.name} wants somebody else to sign"
    return ""
