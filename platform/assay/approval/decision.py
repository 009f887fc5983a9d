"""From the figures and checks of an audit to a verdict, by a policy. The same input gives the same verdict."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from assay import shelves
from assay.approval import multiplicity
from assay.approval.gate import MORE, Decision, Gate
from assay.approval.multiplicity import Ruling
from assay.approval.out_of_reach import NEVER, Samples, shortfall
from assay.approval.policy import Policy
from assay.approval.verdict import (
    AppliedPolicy,
    CheckOutcomes,
    GateResult,
    GateWaiver,
    Verdict,
    WaiverResult,
    WaiverState,
    Word,
)
from assay.approval.waiver import Waiver
from assay.errors import DataError
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, WORST_KIND

Figures = Callable[[float], Sequence[Figure]]
"""Confidence -> the figures of an audit with intervals of that confidence."""
Find = Callable[[Gate, float], tuple[Figure | None, str]]
"""Gate, confidence -> its figure, if any, and what keeps it from deciding, or nothing."""
Waivers = Mapping[str, Waiver]
"""What is waived (`gate NAME` or `check NAME`) -> its waiver; only those that have not expired."""
SCREENED = "a screen (--limit) decides no average precision; audit all test images"
NOT_RUN = "the audit did not pass its own checks, so its figures decide nothing"


def decide(
    policy: Policy,
    figures: Figures,
    checks: pa.Table,
    today: datetime.date,
    *,
    screen: bool = False,
    no_categories: str = "",
) -> Verdict:
    """The verdict on the figures of an audit and on its table of CHECKS; the fields that name the audit are left empty.

    INVALID if a required check failed or is missing; else FAIL if a gate fails; else INCONCLUSIVE if one is undecided,
    if no gate holds, or if the audit is a screen and the policy lets none pass; else PASS, or PASS WITH WAIVERS where
    one was needed. A screen decides no gate on average precision, whatever the policy lets pass. In an INVALID audit no
    gate is decided, but for one: where only checks of the attacks' strength failed, what the attacks did find is there,
    and a gate that fails is reported beside INVALID. What is waived until a day after `today` comes first among the
    reasons. no_categories: why the audit has no figures by category, if so. Raises DataError where a figure or a check
    occurs twice.
    """
    waivers = {waiver.of: waiver for waiver in policy.waivers if waiver.counts(today)}
    outcomes, advice = _checked(policy, checks, waivers)
    invalid = [*outcomes.failed, *outcomes.missing]
    only_strength = not outcomes.missing and all(_about_strength(name) for name in outcomes.failed)
    run = not invalid or only_strength
    gates = _gates(policy, figures, waivers, run=run, screen=screen, no_categories=no_categories)
    if invalid:  # a stronger attack could turn any other decision, never a failure
        gates = tuple(gate if gate.decision == "FAIL" and gate.claim else _not_run(gate) for gate in gates)
    word = _word(policy, gates, outcomes, invalid=bool(invalid), screen=screen)
    used = {f"check {name}": outcomes.evidence[name] for name in outcomes.waived}
    used |= {f"gate {gate.name}": _sentence(gate) for gate in gates if gate.decision == "WAIVED"}
    expired = [waiver for waiver in policy.waivers if not waiver.counts(today)]
    return Verdict(
        verdict=word,
        policy=AppliedPolicy(
            name=policy.name,
            version=policy.version,
            hash=policy.hash,
            why=policy.why,
            approves=policy.approves,
            values=policy.model_dump(mode="json", exclude_unset=True),
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
            *([outcomes.evidence[name] for name in invalid] if invalid else []),
            *_decided(gates, outcomes, word, screen, policy),
            *(f"The waiver of {w.of} by {w.granted_by} expired on {w.expires} and does not count." for w in expired),
            *advice,
        ),
    )


def _word(policy: Policy, gates: Sequence[GateResult], checks: CheckOutcomes, *, invalid: bool, screen: bool) -> Word:
    decisions = {gate.decision for gate in gates}
    if invalid:
        return "INVALID"
    if "FAIL" in decisions:
        return "FAIL"
    if "INCONCLUSIVE" in decisions or "PASS" not in decisions or (screen and policy.screens == "refused"):
        return "INCONCLUSIVE"
    return "PASS WITH WAIVERS" if "WAIVED" in decisions or checks.waived else "PASS"


def _about_strength(check: str) -> bool:
    """Whether a check is about the strength of the attacks: without it more may be found, never less."""
    known = check in shelves.names("checks")
    return known and shelves.stated(shelves.load("checks", check), "ABOUT", "") == "strength"


def _not_run(gate: GateResult) -> GateResult:
    return dataclasses.replace(gate, decision="NOT RUN", why=NOT_RUN, waiver=None)


def _decided(
    gates: Sequence[GateResult], checks: CheckOutcomes, word: Word, screen: bool, policy: Policy
) -> Iterator[str]:
    """A sentence for every gate that does not hold, or one that all of them do."""
    if word in ("PASS", "PASS WITH WAIVERS"):
        waived = sum(gate.decision == "WAIVED" for gate in gates)
        other = "other " if word == "PASS WITH WAIVERS" else ""
        yield f"All {other}{len(gates) - waived} gates and all {len(checks.passed)} required checks hold."
    beside = "Found all the same, as attacks can only find more: " if word == "INVALID" else ""
    yield from (beside + _sentence(gate) for gate in gates if gate.decision in ("FAIL", "INCONCLUSIVE"))
    if word == "INCONCLUSIVE" and not any(gate.decision in ("PASS", "INCONCLUSIVE") for gate in gates):
        yield "No gate holds: every one is waived, so nothing was shown."
    if word == "INCONCLUSIVE" and screen and policy.screens == "refused":
        yield (
            f"The audit is a screen (--limit), and policy {policy.name} lets no screen pass (`screens: allowed` does); "
            "audit all test images."
        )
    for gate in gates:
        if gate.decision == "PASS" and not gate.claim:
            yield f"No claim: {gate.words} is decided by {_by(gate)}, so at no confidence does it say anything."


def _by(gate: GateResult) -> str:
    return "the figure itself" if gate.bound == "value" else "the end of the interval that is good for the model"


def _gates(
    policy: Policy, figures: Figures, waivers: Waivers, run: bool, screen: bool, no_categories: str
) -> tuple[GateResult, ...]:
    """The result of every gate; run: whether they are decided at all."""

    def find(gate: Gate, confidence: float) -> tuple[Figure | None, str]:
        figure, obstacle = gate.find(figures(confidence), policy.minimum_samples)
        if figure is None and no_categories and gate.defect not in (ALL, WORST_KIND):
            obstacle += f" ({no_categories})"
        return figure, SCREENED if screen and gate.metric == "average_precision" else obstacle

    def fit(gate: Gate, confidence: float) -> Figure | None:
        figure, obstacle = find(gate, confidence)
        return None if obstacle else figure

    rulings: Sequence[Ruling | None] = [None] * len(policy.gates)
    if run:
        rulings = multiplicity.rule(policy.gates, policy.confidence, policy.multiplicity, fit)
    return tuple(
        _gate(gate, policy, figures, find, ruling, waivers.get(f"gate {gate.label}"))
        for gate, ruling in zip(policy.gates, rulings, strict=True)
    )


def _gate(
    gate: Gate, policy: Policy, figures: Figures, find: Find, ruling: Ruling | None, waiver: Waiver | None
) -> GateResult:
    """The result of a gate; find: its figure at a confidence and the obstacle; ruling: None where it is not decided."""
    confidence = ruling.confidence if ruling else policy.confidence
    figure, obstacle = find(gate, confidence)
    if ruling is None:
        why = NOT_RUN
    else:
        why = obstacle if figure is None or obstacle else _why(gate, policy, ruling, figure)
    waived = _gate_waiver(waiver, ruling.decision) if waiver and ruling and ruling.decision != "PASS" else None
    breaks_at, holds_to = gate.reach(figures(confidence))
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


def _why(gate: Gate, policy: Policy, ruling: Ruling, figure: Figure) -> str:
    """Why it was decided so; where it is not decided for want of samples, how many would do."""
    why = gate.why_decided(ruling.decision, figure)
    there = Samples(*figure.units, grouped=figure.units != (figure.normals, figure.anomalies))
    short = shortfall(gate, there, ruling.confidence, policy.prevalence) if ruling.decision == "INCONCLUSIVE" else ""
    if short.endswith(NEVER):
        why = why.removesuffix(MORE)
    if gate.metric == "average_precision":
        why += f"; at the policy's prevalence {policy.prevalence:g}, which is also the level of chance"
    return f"{why}: {short}" if short else why


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
