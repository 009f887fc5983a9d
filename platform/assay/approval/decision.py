"""From the figures and checks of an audit to a verdict, by a policy. The same input gives the same verdict."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from assay.approval import multiplicity
from assay.approval.gate import Decision, Gate
from assay.approval.multiplicity import Ruling
from assay.approval.policy import Policy
from assay.approval.verdict import (
    AppliedPolicy,
    CheckOutcomes,
    GateResult,
    GateWaiver,
    Verdict,
    WaiverResult,
    WaiverState,
)
from assay.approval.waiver import Waiver
from assay.errors import DataError
from assay.store.figures import Figure

Figures = Callable[[float], Sequence[Figure]]
"""Confidence -> the figures of an audit with intervals of that confidence."""
Waivers = Mapping[str, Waiver]
"""What is waived (`gate NAME` or `check NAME`) -> its waiver; only those that have not expired."""
NOT_RUN = "the audit did not pass its own checks, so its figures decide nothing"


def decide(policy: Policy, figures: Figures, checks: pa.Table, today: datetime.date) -> Verdict:
    """The verdict on the figures of an audit and on its table of CHECKS; the fields that name the audit are left empty.

    INVALID if a required check failed or is missing (no gate is decided then, because its figure cannot be relied on);
    else FAIL if a gate fails; else INCONCLUSIVE if one is undecided; else PASS. What is waived until a day after
    `today` counts for none of these, and comes first among the reasons. Raises DataError where a figure or a check
    occurs twice.
    """
    waivers = {waiver.of: waiver for waiver in policy.waivers if waiver.counts(today)}
    outcomes, advice = _checked(policy, checks, waivers)
    invalid = [*outcomes.failed, *outcomes.missing]
    gates = _gates(policy, figures, waivers, run=not invalid)
    used = {f"check {name}": outcomes.evidence[name] for name in outcomes.waived}
    used |= {f"gate {gate.name}": _sentence(gate) for gate in gates if gate.decision == "WAIVED"}
    expired = [waiver for waiver in policy.waivers if not waiver.counts(today)]
    return Verdict(
        verdict="INVALID" if invalid else _worst(gates),
        policy=AppliedPolicy(
            name=policy.name, version=policy.version, hash=policy.hash, why=policy.why, approves=policy.approves
        ),
        confidence=policy.confidence,
        multiplicity=policy.multiplicity,
        waivers=tuple(
            _result(waiver, "expired" if waiver in expired else "used" if waiver.of in used else "not used")
            for waiver in policy.waivers
        ),
        gates=gates,
        checks=outcomes,
        reasons=(
            *(_waived(waivers[of], evidence) for of, evidence in used.items()),
            *([outcomes.evidence[name] for name in invalid] if invalid else _decided(gates, outcomes)),
            *(f"The waiver of {w.of} by {w.granted_by} expired on {w.expires} and does not count." for w in expired),
            *advice,
        ),
    )


def _worst(gates: Sequence[GateResult]) -> Decision:
    decisions = {gate.decision for gate in gates}
    return "FAIL" if "FAIL" in decisions else "INCONCLUSIVE" if "INCONCLUSIVE" in decisions else "PASS"


def _decided(gates: Sequence[GateResult], checks: CheckOutcomes) -> Iterator[str]:
    """A sentence for every gate that does not hold, or one that all of them do."""
    if _worst(gates) == "PASS":
        waived = sum(gate.decision == "WAIVED" for gate in gates)
        other = "other " if waived or checks.waived else ""
        yield f"All {other}{len(gates) - waived} gates and all {len(checks.passed)} required checks hold."
    yield from (_sentence(gate) for gate in gates if gate.decision in ("FAIL", "INCONCLUSIVE"))


def _gates(policy: Policy, figures: Figures, waivers: Waivers, run: bool) -> tuple[GateResult, ...]:
    """The result of every gate; run: whether they are decided at all."""

    def fit(gate: Gate, confidence: float) -> Figure | None:
        figure, obstacle = gate.find(figures(confidence), policy.minimum_samples)
        return None if obstacle else figure

    rulings: Sequence[Ruling | None] = [None] * len(policy.gates)
    if run:
        rulings = multiplicity.rule(policy.gates, policy.confidence, policy.multiplicity, fit)
    return tuple(
        _gate(gate, policy, figures, ruling, waivers.get(f"gate {gate.label}"))
        for gate, ruling in zip(policy.gates, rulings, strict=True)
    )


def _gate(gate: Gate, policy: Policy, figures: Figures, ruling: Ruling | None, waiver: Waiver | None) -> GateResult:
    """The result of a gate; ruling: None where it is not decided."""
    confidence = ruling.confidence if ruling else policy.confidence
    at_confidence = figures(confidence)
    figure, obstacle = gate.find(at_confidence, policy.minimum_samples)
    if ruling is None:
        why = NOT_RUN
    else:
        why = obstacle if figure is None or obstacle else gate.why_decided(ruling.decision, figure)
    waived = _gate_waiver(waiver, ruling.decision) if waiver and ruling and ruling.decision != "PASS" else None
    breaks_at, holds_to = gate.reach(at_confidence)
    return GateResult(
        name=gate.label,
        text=gate.text,
        value=figure.value if figure else None,
        lower=figure.lower if figure else None,
        upper=figure.upper if figure else None,
        normals=figure.normals if figure else None,
        anomalies=figure.anomalies if figure else None,
        confidence=confidence,
        bound=gate.deciding,
        limit=gate.limit,
        figure=gate.figure,
        breaks_at=breaks_at,
        holds_to=holds_to,
        decision="WAIVED" if waived else ruling.decision if ruling else "NOT RUN",
        why=why,
        waiver=waived,
        purpose=gate.why,
    )


def _gate_waiver(waiver: Waiver, decision: Decision) -> GateWaiver:
    return GateWaiver(granted_by=waiver.granted_by, reason=waiver.reason, expires=waiver.expires, instead_of=decision)


def _result(waiver: Waiver, state: WaiverState) -> WaiverResult:
    return WaiverResult(
        of=waiver.of, granted_by=waiver.granted_by, reason=waiver.reason, expires=waiver.expires, state=state
    )


def _checked(policy: Policy, checks: pa.Table, waivers: Waivers) -> tuple[CheckOutcomes, list[str]]:
    """The required checks by outcome; and a sentence for every other check that did not pass."""
    listed = sorted(checks.to_pylist(), key=lambda row: str(row["check"]))
    rows = {row["check"]: row for row in listed}
    if twice := [row["check"] for row in listed if rows[row["check"]] is not row]:
        raise DataError(f"the audit's checks hold {twice[0]} more than once; run the same audit again")
    marked: list[str] = [name for name, row in rows.items() if row["required"]]
    required = marked if policy.required_checks == "all" else policy.required_checks
    names: dict[str, list[str]] = {"passed": [], "failed": [], "missing": [], "waived": []}
    evidence: dict[str, str] = {}
    for name in required:
        passed = rows[name]["passed"] if name in rows else None  # a check without an outcome was not run
        outcome = "missing" if passed is None else "passed" if passed else "failed"
        if outcome == "failed":
            evidence[name] = f"Check {name} failed: {rows[name]['evidence']}"
        elif outcome == "missing":
            evidence[name] = f"Check {name} is required and was not run."
        names["waived" if not passed and f"check {name}" in waivers else outcome].append(name)
    if not required:
        name = "any required check"
        names["missing"].append(name)
        evidence[name] = "The audit ran no required check, so nothing says that its figures can be trusted."
    others = [name for name in marked if name not in required and not rows[name]["passed"]]
    outcomes = CheckOutcomes(
        passed=tuple(names["passed"]),
        failed=tuple(names["failed"]),
        missing=tuple(names["missing"]),
        waived=tuple(names["waived"]),
        evidence=evidence,
    )
    return outcomes, [f"Check {name} did not pass; this policy does not require it." for name in others]


def _sentence(gate: GateResult) -> str:
    decision = gate.waiver.instead_of if gate.waiver else gate.decision
    return f"{decision}: {gate.words}; {gate.why}."


def _waived(waiver: Waiver, evidence: str) -> str:
    until = f"WAIVED by {waiver.granted_by} until {waiver.expires}"
    return f"{until}, {waiver.of}: {waiver.reason.strip().removesuffix('.')}. Without the waiver: {evidence}"
