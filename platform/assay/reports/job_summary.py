"""A verdict as Markdown, for the summary page of a CI job."""

from __future__ import annotations

from collections.abc import Iterator

from assay.approval.gate import percent
from assay.approval.verdict import Verdict
from assay.reports.markdown import escaped


def text(verdict: Verdict, report: object) -> str:
    """The verdict, why, a table of the gates, the checks that did not pass, and where the report is."""
    return "\n".join(_lines(verdict, report)) + "\n"


def _lines(verdict: Verdict, report: object) -> Iterator[str]:
    policy = verdict.policy
    yield f"## Assay: {verdict.verdict}"
    yield ""
    yield (
        f"Model {escaped(verdict.model)}, audit {escaped(verdict.audit)}, policy {escaped(policy.name)} version "
        f"{escaped(policy.version)}. Report: {escaped(report)}"
    )
    yield ""
    evidence = list(verdict.checks.evidence.values())
    yield from (f"- {escaped(reason)}" for reason in verdict.reasons if reason not in evidence)
    yield ""
    if evidence:
        yield "Required checks of the audit that did not pass:"
        yield ""
        yield from (f"- {escaped(sentence)}" for sentence in evidence)
        yield ""
    yield "| decision | gate | figure | interval | confidence | limit |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for gate in verdict.gates:
        figure = "none" if gate.value is None else f"{gate.value:.3f}"
        interval = "none" if gate.value is None else f"{gate.lower:.3f} to {gate.upper:.3f}"
        confidence = percent(gate.confidence) if gate.confidence else ""
        cells = [gate.decision, gate.words, figure, interval, confidence, f"{gate.limit:g}"]
        yield f"| {' | '.join(map(escaped, cells))} |"
    yield ""
