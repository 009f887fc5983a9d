"""What the register remembers of the decisions on a model, held against the verdict that lies in an audit's folder.

An older signed state that was put back has a valid signature; only the register knows that it is the older one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.approval import records, review
from assay.approval.records import DecisionRecord, Gap
from assay.approval.signature import Key
from assay.approval.verdict import Verdict, verdict_of
from assay.hashing import digest
from assay.store.audit_reader import Audit
from assay.store.store import Store

AGAIN = "restore what is newer, or decide again: assay approve"


@dataclass(frozen=True)
class Memory:
    """The register as it was read once, less what cannot be relied on. audits: the ids of those that are there."""

    decisions: Sequence[DecisionRecord]
    gaps: Sequence[Gap]
    audits: frozenset[str]

    @classmethod
    def of(cls, store: Store, key: Key | None = None) -> Memory:
        """What the register of a store holds; key: checks the signatures of that public key."""
        gaps = records.gaps(store, key)
        changed = {gap.entry for gap in gaps}
        decisions = [one for one in records.decisions(store) if one.entry not in changed]
        return cls(decisions, gaps, frozenset(store.names("audits")))

    def order(self, audit: str) -> int:
        """The place of the last decision on an audit among all decisions; -1 without one."""
        return max((i for i, one in enumerate(self.decisions) if one.audit == audit), default=-1)

    def records(self, audit: Audit) -> bool:
        """Whether it holds the verdict in an audit's folder."""
        verdict = verdict_of(audit)
        return verdict is not None and any(_is(one, audit, verdict) for one in self.decisions)

    def objection(self, audit: Audit) -> str:
        """Why the verdict in an audit's folder is not the last one on the model, or nothing; raises as `verdict_of`."""
        verdict = verdict_of(audit)
        if verdict is None:
            return ""
        about = [one for one in self.decisions if one.model == verdict.model or one.audit == verdict.audit]
        own = [one for one in about if _is(one, audit, verdict)]
        return (self._later(verdict, about, own) if about else self._gap(verdict, own)) or _unrecorded(verdict, own)

    def _later(self, verdict: Verdict, about: Sequence[DecisionRecord], own: Sequence[DecisionRecord]) -> str:
        """Why the last of the decisions about a model is not this verdict, or nothing. own: those that are it."""
        last = about[-1]
        if not own and (last.audit, last.decided) == (verdict.audit, verdict.created):
            return (
                "verdict.json is not as it was recorded in the register: it or its record was changed; decide again: "
                "assay approve"
            )
        if last not in own and (own or last.time > verdict.created):
            policy, gone = last.policy, "" if last.audit in self.audits else ", which is gone"
            return (
                f"the register holds a later decision: {last.verdict} by policy {policy.name} {policy.version} on "
                f"{last.date} (audit {last.audit}{gone}); an older state was put back, or the newer one lost: {AGAIN}"
            )
        return self._gap(verdict, own)

    def _gap(self, verdict: Verdict, own: Sequence[DecisionRecord]) -> str:
        """That a decision on the model, later than those in `own`, cannot be relied on, or nothing."""
        for gap in self.gaps:
            if f"-decided-{verdict.model[:12]}." in gap.entry and (not own or gap.entry > own[-1].entry):
                later = "a later" if own else "a"
                return f"register/{gap.entry}, {later} decision on this model, is {gap.what}: {AGAIN}"
        return ""


def _unrecorded(verdict: Verdict, own: Sequence[DecisionRecord]) -> str:
    """That no record is left of a verdict, or nothing; no version that wrote a history left one without."""
    if own or verdict.history is None:
        return ""
    return (
        f"the register holds no such decision on audit {verdict.audit}: it was decided in another store, or its record "
        "was removed; restore register/ from a copy, or decide again: assay approve"
    )


def _is(one: DecisionRecord, audit: Audit, verdict: Verdict) -> bool:
    """Whether a record is of that verdict; an old one holds no hash, and is compared by what it holds."""
    reviewed = review.read(audit.folder)
    if one.audit != verdict.audit or (reviewed and reviewed.key != one.key):
        return False
    if one.key and verdict.history and not one.signature:  # no version that wrote a history left it unsigned
        return False
    if one.verdict_sha256:
        return one.verdict_sha256 == digest(audit.folder.read("verdict.json"))
    same = (one.model, one.verdict, one.policy.hash) == (verdict.model, verdict.verdict, verdict.policy.hash)
    return same and one.time >= verdict.created
