"""Verdicts as JUnit XML, the form in which CI servers read test results: a case for every gate and required check.

A gate that fails is a failure, a check without which the audit is INVALID an error; what is waived, undecided or was
not run is skipped, with the reason. The dialect is the common one of Jenkins and GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

Outcome = tuple[str, str, str]
"""Kind of element (failure, error, skipped or nothing), message, text."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(verdicts: Sequence[dict[str, Any]]) -> bytes:
    """A `testsuites` document with a `testsuite` for every verdict."""
    root = ElementTree.Element("testsuites", name="assay")
    for verdict in verdicts:
        root.append(_suite(verdict))
    _count(root, {"tests": "testcase", "failures": "failure", "errors": "error"})
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(verdict: dict[str, Any]) -> ElementTree.Element:
    name = f"{verdict['policy']['name']} on {verdict['audit']}"
    suite = ElementTree.Element("testsuite", name=_fit(name), timestamp=verdict["created"][:19], time="0")
    properties = ElementTree.SubElement(suite, "properties")
    about = {key: verdict[key] for key in ("verdict", "audit", "model")} | {"policy": verdict["policy"]["hash"]}
    for key, value in about.items():
        ElementTree.SubElement(properties, "property", name=key, value=_fit(value))
    for classname, case, outcome in [*_gates(verdict), *_checks(verdict)]:
        element = ElementTree.SubElement(suite, "testcase", classname=classname, name=_fit(case), time="0")
        kind, message, text = map(_fit, outcome)
        if kind:
            told = ElementTree.SubElement(element, kind, message=message)
            told.text = text
            if kind != "skipped":
                told.set("type", kind)
    _count(suite, {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"})
    return suite


def _gates(verdict: dict[str, Any]) -> Iterator[tuple[str, str, Outcome]]:
    kinds = {"PASS": "", "FAIL": "failure"}
    for gate in verdict["gates"]:
        message = f"{gate['decision']}: {gate['why']}"
        if waiver := gate["waiver"]:
            message = f"WAIVED by {waiver['granted_by']} until {waiver['expires']}: {waiver['reason']}"
        text = f"{gate['text']}: {gate['why']}"
        yield "assay.gate", gate["name"], (kinds.get(gate["decision"], "skipped"), message, text)


def _checks(verdict: dict[str, Any]) -> Iterator[tuple[str, str, Outcome]]:
    outcomes, granted = verdict["checks"], {waiver["of"]: waiver for waiver in verdict["waivers"]}
    for state, kind in (("passed", ""), ("failed", "error"), ("missing", "error"), ("waived", "skipped")):
        for name in outcomes[state]:
            evidence = outcomes["evidence"].get(name, "")
            message = evidence
            if state == "waived":
                waiver = granted[f"check {name}"]
                message = f"WAIVED by {waiver['granted_by']} until {waiver['expires']}: {waiver['reason']}"
            yield "assay.check", name, (kind, message, evidence)


def _count(element: ElementTree.Element, counted: dict[str, str]) -> None:
    for attribute, tag in counted.items():
        element.set(attribute, str(len(list(element.iter(tag)))))


def _fit(text: str) -> str:
    """The text without what no XML document may hold; the rest is escaped when it is written."""
    return NOT_XML.sub("\ufffd", text)
