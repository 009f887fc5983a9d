"""What a CI server reads of a verdict: JUnit XML, a job's summary, and the workflow in docs/ci.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from assay.approval.verdict import Verdict
from assay.cli import main
from assay.reports import job_summary, junit

HOSTILE = "a <b>&\"'| `x` [l](http://e.x) ![i](j) \x1b[31m\x00 \ud800 $x$ # é"
DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "ci.md").read_text(encoding="utf-8")
WAIVER = {"granted_by": HOSTILE, "reason": "r", "expires": "2026-12-31"}


def gate(decision: str, name: str = "ranking", **more: Any) -> dict[str, Any]:
    figure = {"value": 0.7, "lower": 0.65, "upper": 0.75, "confidence": 0.975, "limit": 0.6}
    told = {"name": name, "text": f"clean AUROC at least 0.60 {name}", "why": f"because {name}", "waiver": None}
    return {**told, **figure, "decision": decision, **more}


def verdict(word: str = "PASS", *gates: dict[str, Any], **checks: list[str]) -> Verdict:
    states = {"passed": ["eval_mode"], "failed": [], "missing": [], "waived": [], **checks}
    wrong = [name for state in ("failed", "missing", "waived") for name in states[state]]
    evidence = {name: f"Check {name} failed: {HOSTILE}" for name in wrong}
    content = {
        "verdict": word, "audit": "a-1", "model": "m" * 24, "gates": list(gates or [gate("PASS")]),
        "policy": {"name": HOSTILE, "version": 1, "hash": "h" * 64}, "checks": {**states, "evidence": evidence},
        "waivers": [{"of": f"check {name}", **WAIVER, "state": "used"} for name in states["waived"]],
        "reasons": [HOSTILE, *evidence.values()], "created": "2026-06-15T12:00:00+00:00",
    }  # fmt: skip
    return Verdict.from_json(content)


def parsed(*verdicts: Verdict) -> ElementTree.Element:
    """The document, held against the dialect that Jenkins (xunit plugin, junit-10.xsd) and GitLab read."""
    content = junit.document(verdicts)
    assert content.startswith(b"<?xml")
    root = ElementTree.fromstring(content.decode("utf-8"))
    children = {
        "testsuites": ({"testsuite"}, {"name", "tests", "failures", "errors"}),
        "testsuite": (
            {"properties", "testcase"},
            {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        ),
        "properties": ({"property"}, set()),
        "property": (set(), {"name", "value"}),
        "testcase": ({"failure", "error", "skipped"}, {"name", "classname", "time"}),
        "failure": (set(), {"message", "type"}),
        "error": (set(), {"message", "type"}),
        "skipped": (set(), {"message"}),
    }  # fmt: skip
    assert root.tag == "testsuites"
    for element in root.iter():
        below, attributes = children[element.tag]
        assert {child.tag for child in element} <= below
        assert set(element.attrib) == attributes
        if element.tag == "testcase":
            assert len(element) <= 1
        if element.tag in ("testsuites", "testsuite"):
            assert int(element.attrib["tests"]) == len(list(element.iter("testcase")))
            assert int(element.attrib["failures"]) == len(list(element.iter("failure")))
            assert int(element.attrib["errors"]) == len(list(element.iter("error")))
    for suite in root:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert [child.tag for child in suite][:1] == ["properties"]
    return root


def outcomes(root: ElementTree.Element) -> dict[str, str]:
    return {case.attrib["name"]: case[0].tag if len(case) else "" for case in root.iter("testcase")}


def test_a_case_for_every_gate_and_every_required_check():
    waived = gate("WAIVED", "c", waiver={**WAIVER, "instead_of": "FAIL"})
    root = parsed(
        verdict("FAIL", gate("PASS", "a"), gate("FAIL", "b"), waived, gate("INCONCLUSIVE", "d"), waived=["gradients"])
    )
    assert outcomes(root) == {
        "a": "", "b": "failure", "c": "skipped", "d": "skipped", "eval_mode": "", "gradients": "skipped",
    }  # fmt: skip
    assert {case.attrib["classname"] for case in root.iter("testcase")} == {"assay.gate", "assay.check"}
    messages = [skipped.attrib["message"] for skipped in root.iter("skipped")]
    assert messages[0].startswith("WAIVED by a <b>&")
    assert messages[0].endswith("until 2026-12-31: r")
    assert messages[1] == "INCONCLUSIVE: because d"
    assert root.find("testsuite/testcase/failure").attrib["message"] == "FAIL: because b"


def test_an_invalid_audit_is_an_error():
    root = parsed(verdict("INVALID", gate("NOT RUN", "a"), failed=["gradients"], missing=["unbounded"]))
    assert outcomes(root) == {"a": "skipped", "eval_mode": "", "gradients": "error", "unbounded": "error"}
    assert (root.attrib["errors"], root.attrib["failures"]) == ("2", "0")


def test_several_verdicts_are_several_suites():
    root = parsed(verdict(), verdict("FAIL", gate("FAIL")))
    assert [suite.attrib["failures"] for suite in root] == ["0", "1"]


def test_nothing_from_outside_breaks_the_xml():
    root = parsed(verdict("FAIL", gate("FAIL", HOSTILE)))
    [name] = [case.attrib["name"] for case in root.iter("testcase") if case.attrib["classname"] == "assay.gate"]
    assert name == HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd").replace("\ud800", "\ufffd")


def test_the_summary_has_verdict_gates_failed_checks_and_report():
    no_figure = gate("INCONCLUSIVE", "b", value=None, lower=None, upper=None)
    found = job_summary.text(verdict("INVALID", gate("FAIL", "a"), no_figure, failed=["gradients"]), Path("/s/r.html"))
    assert found.startswith("## Assay: INVALID\n")
    assert "Report: /s/r.html" in found
    assert "| FAIL | a: clean AUROC at least 0.60 a | 0.700 | 0.650 to 0.750 | 97.5 % | 0.6 |" in found
    assert "| INCONCLUSIVE | b: clean AUROC at least 0.60 b | none | none | 97.5 % | 0.6 |" in found
    assert found.count("Check gradients failed") == 1


def test_nothing_from_outside_is_read_as_markdown_or_html():
    found = job_summary.text(verdict("FAIL", gate("FAIL", HOSTILE), failed=["gradients"]), Path(f"/{HOSTILE}"))
    assert found.isascii() or "é" in found
    assert "<" not in found
    for special in ("`", "[", "]", "$", "!"):
        assert not re.search(rf"(?<!\\){re.escape(special)}", found), special
    rows = [line for line in found.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}, "a bar in a name makes no column"
    assert not set(found) & {"\x1b", "\x00"}


def test_no_address_from_outside_becomes_a_link():
    found = job_summary.text(verdict("FAIL", gate("FAIL", "see HTTPS://e.x or www.e.x or WWW.e.x")), Path("/s/r.html"))
    assert not re.search(r"://|www\.", found, re.IGNORECASE)
    assert "Report: /s/r.html" in found


def workflows() -> list[dict[str, Any]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [found for block in blocks if "jobs" in (found := yaml.safe_load(block))]


def commands(workflow: dict[str, Any]) -> list[list[str]]:
    """The words of every `assay` command of a workflow's steps."""
    scripts = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    lines = "\n".join(scripts).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip().startswith("assay ")]


def test_the_workflow_runs_verbs_and_options_that_exist():
    [workflow] = workflows()
    found = commands(workflow)
    assert any("--policy" in words for words in found)
    for _, verb, *words in found:
        command = main.get_command(None, verb)
        assert command, verb
        known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
        assert {word for word in words if word.startswith("--")} <= known
    for job in workflow["jobs"].values():
        assert all({"uses", "run"} & set(step) for step in job["steps"])
        assert job["runs-on"]


@pytest.mark.parametrize("word", ["PASS", "FAIL", "INVALID", "INCONCLUSIVE"])
def test_the_page_tells_every_exit_code(word: str):
    from assay.approval.policy import EXIT_CODES

    assert re.search(rf"^\| {EXIT_CODES[word]} \| {word}\b", PAGE, re.MULTILINE)
