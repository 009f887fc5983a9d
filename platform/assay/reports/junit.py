"""Verdicts as JUnit XML, the form in which CI servers read test results: a case for every gate and required check.

A gate that fails is a failure, a check without which the audit is INVALID an error; what is waived, undecided or was
not run is skipped, with the reason. The dialect is the common one of Jenkins and GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from assay.approval.verdict import Verdict

Outcome = Literal["", "failure", "error", "skipped"]
"""The element that says how a case ended; none where it passed."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """A test case; kind: gate or check. message and text: of the element that says how it ended."""

    kind: str
    name: str
    outcome: Outcome
    message: str
    text: str


def document(verdicts: Sequence[Verdict]) -> bytes:
    """A `testsuites` document with a `testsuite` for every verdict."""
    root = ElementTree.Element("testsuites", name="assay")
    for verdict in verdicts:
        root.append(_suite(verdict))
    _count(root, {"tests": "testcase", "failures": "failure", "errors": "error"})
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(verdict: Verdict) -> ElementTree.Element:
    name = f"{verdict.policy.name} on {verdict.audit}"
    suite = ElementTree.Element("testsuite", name=_fit(name), timestamp=verdict.created[:19], time="0")
    properties = ElementTree.SubElement(suite, "properties")
    about = {"verdict": verdict.verdict, "audit": verdict.audit, "model": verdict.model, "policy": verdict.policy.hash}
    for key, value in about.items():
        ElementTree.SubElement(properties, "property", name=key, value=_fit(value))
    for case in [*_gates(verdict), *_checks(verdict)]:
        element = ElementTree.SubElement(suite, "testcase", classname=case.kind, name=_fit(case.name), time="0")
        if case.outcome:
            outcome = ElementTree.SubElement(element, case.outcome, message=_fit(case.message))
            outcome.text = _fit(case.text)
            if case.outcome != "skipped":
                outcome.set("type", case.outcome)
    _count(suite, {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"})
    return suite


def _gates(verdict: Verdict) -> Iterator[Case]:
    for gate in verdict.gates:
        outcome: Outcome = "" if gate.decision == "PASS" else "failure" if gate.decision == "FAIL" else "skipped"
        message = gate.waiver.words if gate.waiver else f"{gate.decision}: {gate.why}"
        yield Case("assay.gate", gate.name, outcome, message, f"{gate.text}: {gate.why}")


def _checks(verdict: Verdict) -> Iterator[Case]:
    checks, waivers = verdict.checks, {waiver.of: waiver for waiver in verdict.waivers}
    for name in checks.passed:
        yield Case("assay.check", name, "", "", "")
    for name in (*checks.failed, *checks.missing):
        evidence = checks.evidence.get(name, "")
        yield Case("assay.check", name, "error", evidence, evidence)
    for name in checks.waived:
        yield Case("assay.check", name, "skipped", waivers[f"check {name}"].words, checks.evidence.get(name, ""))


def _count(element: ElementTree.Element, counted: dict[str, str]) -> None:
    for attribute, tag in counted.items():
        element.set(attribute, str(len(list(element.iter(tag)))))


def _fit(text: str) -> str:
    """The text without characters that XML forbids; the rest is escaped when it is written."""
    return NOT_XML.sub("\ufffd", text)
