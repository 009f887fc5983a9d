"""The verdict on an audit: the content of verdict.json, typed."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from assay.approval.figure import FigureName
from assay.approval.gate import ERRORS, Bound
from assay.approval.multiplicity import Correction
from assay.errors import DataError
from assay.store import formats
from assay.store.audit_reader import Audit, Content

Word = Literal["PASS", "PASS WITH WAIVERS", "FAIL", "INVALID", "INCONCLUSIVE"]
GateDecision = Literal["PASS", "FAIL", "INCONCLUSIVE", "WAIVED", "NOT RUN"]
WaiverState = Literal["used", "not used", "expired"]


@dataclass(frozen=True, kw_only=True)
class AppliedPolicy:
    """The policy that was applied. approves: whether a PASS by it approves the model for use.

    values: what was written in its file, so that anybody can decide again; empty in old verdicts.
    """

    name: str
    version: int | str
    hash: str
    why: str = ""
    approves: bool = True
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WaiverResult:
    """A waiver of the policy, what it waives (`gate NAME` or `check NAME`), and whether the verdict made use of it."""

    of: str
    granted_by: str
    reason: str
    expires: datetime.date
    state: WaiverState

    @property
    def words(self) -> str:
        """`WAIVED by Jane Doe until 2026-12-31: no network in line 3`."""
        return _waived(self)


@dataclass(frozen=True, kw_only=True)
class GateWaiver:
    """The waiver that a gate was waived by, and the decision without it."""

    granted_by: str
    reason: str
    expires: datetime.date
    instead_of: GateDecision

    @property
    def words(self) -> str:
        """`WAIVED by Jane Doe until 2026-12-31: no network in line 3`."""
        return _waived(self)


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate of the policy and what became of it.

    figure: what the gate is about. value, lower, upper: the audit's figure and its interval at `confidence`, None where
    the audit has none. bound: the end of the interval that must keep the limit. breaks_at: the smallest epsilon of the
    audit at which it does not; holds_to: the largest up to which it does. why explains the decision, purpose the gate.
    """

    name: str
    text: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    normals: int | None = None
    anomalies: int | None = None
    confidence: float | None = None
    bound: Bound | None = None
    limit: float
    figure: FigureName | None = None
    breaks_at: float | None = None
    holds_to: float | None = None
    decision: GateDecision
    why: str
    waiver: GateWaiver | None = None
    purpose: str = ""

    @property
    def claim(self) -> bool:
        """Whether the decision is a claim at the stated confidence: the bad end of the interval decided it."""
        if self.bound is None or self.figure is None:
            return True
        return self.bound == ("upper" if self.figure.metric in ERRORS else "lower")

    @property
    def words(self) -> str:
        """Name and text, or the text alone where the gate has no name."""
        return self.text if self.name == self.text else f"{self.name}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class EarlierDecision:
    """An earlier verdict on the same model. audit: its id. date: the day, ISO. answered: why it no longer stands.

    limits: the gates of its policy in words; empty in old verdicts.
    """

    audit: str
    verdict: Word
    policy: str
    date: str
    answered: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class History:
    """What else was looked at before this verdict: nothing here was corrected for.

    decisions: every earlier verdict on the model, the oldest first. audits: ids of all finished audits of the model,
    with `(screen)` where samples were left out. models: how many models were audited on these test images, or
    may have been, where an audit cannot be read. register: the records that the register ended with, each with its
    SHA-256; empty for the first and in old verdicts.
    """

    decisions: tuple[EarlierDecision, ...] = ()
    audits: tuple[str, ...] = ()
    models: int = 1
    register: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CheckOutcomes:
    """The required checks by outcome, and a sentence of evidence for each that did not pass."""

    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    evidence: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on an audit under a policy.

    confidence: with which no gate is decided wrongly, corrected by `multiplicity`. reasons: sentences, the weightiest
    first. judged: table of the audit -> SHA-256 of the rows that were judged. created: ISO time (UTC).
    """

    verdict: Word
    policy: AppliedPolicy
    confidence: float | None = None
    multiplicity: Correction | None = None
    waivers: tuple[WaiverResult, ...] = ()
    gates: tuple[GateResult, ...]
    checks: CheckOutcomes
    reasons: tuple[str, ...]
    history: History | None = None
    audit: str = ""
    model: str = ""
    judged: dict[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is a PASS, with waivers or without."""
        return self.verdict in ("PASS", "PASS WITH WAIVERS")

    @staticmethod
    def from_json(mapping: Mapping[str, Any]) -> Verdict:
        """The verdict in the content of a verdict.json, of older versions too; raises DataError for a damaged one."""
        try:
            return _adapter().validate_python(mapping)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(
                f"verdict.json is damaged ({place}: {first['msg']}); `assay approve` writes a new one"
            ) from error

    def to_json(self) -> Content:
        """The content of verdict.json: plain values that JSON can hold."""
        content = _adapter().dump_python(self, mode="json")
        # A verdict from before there were these stays as it was.
        if self.history is None:
            del content["history"]
        elif not self.history.register:
            del content["history"]["register"]
        for one in content.get("history", {}).get("decisions", ()):
            if not one["limits"]:
                del one["limits"]
        if not self.policy.values:
            del content["policy"]["values"]
        return {formats.FIELD: formats.written("verdict"), **content}


def verdict_of(audit: Audit) -> Verdict | None:
    """The verdict in the folder of an audit, or None while nobody has decided; raises DataError for a damaged one."""
    return None if audit.verdict is None else Verdict.from_json(audit.verdict)


def _waived(waiver: WaiverResult | GateWaiver) -> str:
    return f"WAIVED by {waiver.granted_by} until {waiver.expires}: {waiver.reason}"


@functools.cache
def _adapter() -> TypeAdapter[Verdict]:
    return TypeAdapter(Verdict)
