"""A verdict held against what its own policy says of the audit's figures today: every word of it must come out again.

This is what protects a verdict that nobody signed from being edited by hand; it stops nobody who decides anew.
"""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import ValidationError

from assay.approval import judgement, policy
from assay.approval.policy import Policy
from assay.approval.verdict import Verdict
from assay.errors import DataError
from assay.store.audit_reader import Audit

WORDS = {
    "verdict": "verdict", "policy": "policy", "confidence": "confidence", "multiplicity": "correction",
    "waivers": "waivers", "gates": "gates", "checks": "checks", "reasons": "reasons",
}  # fmt: skip
"""What is compared, by the key in verdict.json."""
DIGITS = 9
"""Figures are computed again, and may differ in the last digits on another machine."""


def policy_of(verdict: Verdict) -> Policy | None:
    """The policy of a verdict: the one it holds, or of an old verdict a shipped one; None where it is not known.

    Raises DataError where what it holds is no policy.
    """
    if verdict.policy.values:
        try:
            return Policy.model_validate(verdict.policy.values)
        except ValidationError as error:
            raise DataError(f"verdict.json holds no policy ({error.errors()[0]['msg']}); decide again") from error
    shipped = policy.read(verdict.policy.name) if verdict.policy.name in policy.names() else None
    return shipped if shipped and shipped.hash == verdict.policy.hash else None


def difference(audit: Audit, verdict: Verdict) -> str:
    """A sentence where deciding again gives another verdict, or nothing; nothing, too, where the policy is not known.

    Raises DataError where the audit cannot be decided on any more.
    """
    known = policy_of(verdict)
    if known is None:
        return ""
    made = judgement.judge(audit, known, datetime.date.fromisoformat(verdict.created[:10]))
    said, again = _rounded(verdict.to_json()), _rounded(made.to_json())
    if not verdict.policy.values:
        again["policy"].pop("values", None)
    differ = [word for key, word in WORDS.items() if said[key] != again[key]]
    if not differ:
        return _under_a_shipped_name(known)
    return (
        f"verdict.json holds other {', '.join(differ)} than its policy gives on the figures there are: it was edited, "
        "or another version of Assay wrote it; run assay approve again"
    )


def _under_a_shipped_name(known: Policy) -> str:
    """A sentence where a policy goes by the name and version of a shipped one, and asks for something else."""
    if known.name not in policy.names():
        return ""
    shipped = policy.read(known.name)
    if shipped.version != known.version or shipped.hash == known.hash:
        return ""
    return (
        f"its policy calls itself {known.name} {known.version} and is not the one of that name; run assay approve again"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
