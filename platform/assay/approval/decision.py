"""From the figures and checks of an audit to a verdict, by a policy. The same input gives the same verdict."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from assay.approval import multiplicity
from assay.approval.gate import Gate
from assay.approval.policy import Policy
from assay.approval.waiver import Waiver
from assay.errors import DataError

Rows = list[dict[str, Any]]
NOT_RUN = "the audit did not pass its own checks, so its figures decide nothing"


def decide(policy: Policy, figures: Callable[[float], Rows], checks: pa.Table, today: datetime.date) -> dict[str, Any]:
    """The verdict on an audit, ready for JSON. figures: the rows of METRICS at a confidence; checks: CHECKS.

    INVALID if a required check failed or is missing (no gate is decided then, for its figure cannot be relied on); else
    FAIL if a gate fails; else INCONCLUSIVE if one is undecided; else PASS. What is waived until a day after `today`
    counts for none of these, and is told first. Raises DataError where a figure or a check is there twice.
    """
    waivers = {waiver.of: waiver for waiver in policy.waivers if waiver.counts(today)}
    outcome, advice = _checked(policy, checks, waivers)
    invalid = outcome["failed"] + outcome["missing"]
    gates = _gates(policy, figures, waivers, run=not invalid)
    decisions = {gate["decision"] for gate in gates}
    verdict = "INVALID" if invalid else next((word for word in ("FAIL", "INCONCLUSIVE") if word in decisions), "PASS")
    used = {f"check {name}": outcome["evidence"][name] for name in outcome["waived"]}
    used |= {f"gate {gate['name']}": _sentence(gate) for gate in gates if gate["decision"] == "WAIVED"}
    reasons = [_waived(waivers[of], evidence) for of, evidence in used.items()]
    if verdict == "PASS":
        held, passed = len(gates) - sum(gate["decision"] == "WAIVED" for gate in gates), len(outcome["passed"])
        reasons.append(f"All {'other ' if used else ''}{held} gates and all {passed} required checks hold.")
    reasons += [outcome["evidence"][name] for name in invalid]
    if not invalid:
        reasons += [_sentence(gate) for gate in gates if gate["decision"] in ("FAIL", "INCONCLUSIVE")]
    expired = [waiver for waiver in policy.waivers if not waiver.counts(today)]
    reasons += [f"The waiver of {w.of} by {w.granted_by} expired on {w.expires} and does not count." for w in expired]
    states = {waiver.of: "used" if waiver.of in used else "not used" for waiver in policy.waivers}
    states |= {waiver.of: "expired" for waiver in expired}
    return {
        "verdict": verdict,
        "policy": {
            "name": policy.name,
            "version": policy.version,
            "hash": policy.hash,
            "why": policy.why,
            "approves": policy.approves,
        },
        "confidence": policy.confidence,
        "multiplicity": policy.multiplicity,
        "waivers": [{"of": w.of, **w.plain(), "state": states[w.of]} for w in policy.waivers],
        "gates": gates,
        "checks": outcome,
        "reasons": reasons + advice,
    }


def _gates(policy: Policy, figures: Callable[[float], Rows], waivers: dict[str, Waiver], run: bool) -> Rows:
    """The entry of every gate: figure, bounds, confidence, limit, decision and the sentence that explains it."""

    def fit(gate: Gate, confidence: float) -> dict[str, Any] | None:
        row, obstacle = gate.find(figures(confidence), policy.minimum_samples)
        return None if obstacle else row

    if not run:
        return [_entry(gate, policy, figures, policy.confidence, "NOT RUN") for gate in policy.gates]
    rulings = multiplicity.rule(policy.gates, policy.confidence, policy.multiplicity, fit)
    entries = [
        _entry(gate, policy, figures, found.confidence, found.decision)
        for gate, found in zip(policy.gates, rulings, strict=True)
    ]
    for entry in entries:
        waiver = waivers.get(f"gate {entry['name']}")
        if waiver and entry["decision"] != "PASS":
            entry.update(decision="WAIVED", waiver={**waiver.plain(), "instead_of": entry["decision"]})
    return entries


def _entry(
    gate: Gate, policy: Policy, figures: Callable[[float], Rows], confidence: float, decision: str
) -> dict[str, Any]:
    rows = figures(confidence)
    row, obstacle = gate.find(rows, policy.minimum_samples)
    if decision == "NOT RUN":
        why = NOT_RUN
    else:
        why = obstacle if row is None or obstacle else gate.why_decided(decision, row)  # type: ignore[arg-type]
    return {
        "name": gate.name or gate.text,
        "text": gate.text,
        **{key: row[key] if row else None for key in ("value", "lower", "upper", "normals", "anomalies")},
        "confidence": confidence,
        "bound": gate.deciding,
        "limit": gate.limit,
        "figure": gate.figure,
        **gate.reach(rows),
        "decision": decision,
        "why": why,
        "waiver": None,
        "purpose": gate.why,
    }


def _checked(policy: Policy, checks: pa.Table, waivers: dict[str, Waiver]) -> tuple[dict[str, Any], list[str]]:
    """The names of required checks by what became of them, a sentence for each that did not pass; and advice."""
    listed = sorted(checks.to_pylist(), key=lambda row: str(row["check"]))
    rows = {row["check"]: row for row in listed}
    if twice := [row["check"] for row in listed if rows[row["check"]] is not row]:
        raise DataError(f"the audit's checks hold {twice[0]} more than once; run the same audit again")
    marked = [name for name, row in rows.items() if row["required"]]
    required = marked if policy.required_checks == "all" else policy.required_checks
    outcome: dict[str, Any] = {"passed": [], "failed": [], "missing": [], "waived": [], "evidence": {}}
    for name in required:
        passed = rows[name]["passed"] if name in rows else None  # a check without an outcome was not run
        state = "missing" if passed is None else "passed" if passed else "failed"
        if not passed:
            told = f"failed: {rows[name]['evidence']}" if state == "failed" else "is required and was not run."
            outcome["evidence"][name] = f"Check {name} {told}"
        outcome["waived" if not passed and f"check {name}" in waivers else state].append(name)
    if not required:
        name = "any required check"
        outcome["missing"].append(name)
        outcome["evidence"][name] = "The audit ran no required check, so nothing says that its figures can be trusted."
    others = [name for name in marked if name not in required and not rows[name]["passed"]]
    return outcome, [f"Check {name} did not pass; this policy does not require it." for name in others]


def _sentence(gate: dict[str, Any]) -> str:
    name = "" if gate["name"] == gate["text"] else f"{gate['name']}: "
    decision = gate["waiver"]["instead_of"] if gate["waiver"] else gate["decision"]
    return f"{decision}: {name}{gate['text']}; {gate['why']}."


def _waived(waiver: Waiver, evidence: str) -> str:
    until = f"WAIVED by {waiver.granted_by} until {waiver.expires}"
    return f"{until}, {waiver.of}: {waiver.reason.strip().removesuffix('.')}. Without the waiver: {evidence}"
