"""A verdict as Markdown, for the summary page of a CI job."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from assay.approval.gate import percent

SPECIAL = re.compile(r"([\\`*_\[\]|~#$!@]|(?<=:)/|(?i:(?<=www))\.)")
"""What Markdown acts on, the beginning of a bare address too."""


def text(verdict: dict[str, Any], report: str) -> str:
    """The verdict, why, a table of the gates, the checks that did not pass, and where the report is."""
    return "\n".join(_lines(verdict, report)) + "\n"


def _lines(verdict: dict[str, Any], report: str) -> Iterator[str]:
    policy = verdict["policy"]
    yield f"## Assay: {verdict['verdict']}"
    yield ""
    yield (
        f"Model {_plain(verdict['model'])}, audit {_plain(verdict['audit'])}, policy {_plain(policy['name'])} version "
        f"{_plain(policy['version'])}. Report: {_plain(report)}"
    )
    yield ""
    evidence = list(verdict["checks"]["evidence"].values())
    yield from (f"- {_plain(reason)}" for reason in verdict["reasons"] if reason not in evidence)
    yield ""
    if evidence:
        yield "Required checks of the audit that did not pass:"
        yield ""
        yield from (f"- {_plain(sentence)}" for sentence in evidence)
        yield ""
    yield "| decision | gate | figure | interval | confidence | limit |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for gate in verdict["gates"]:
        known = gate["value"] is not None
        figure = f"{gate['value']:.3f}" if known else "none"
        interval = f"{gate['lower']:.3f} to {gate['upper']:.3f}" if known else "none"
        what = gate["text"] if gate["name"] == gate["text"] else f"{gate['name']}: {gate['text']}"
        cells = [gate["decision"], what, figure, interval, percent(gate["confidence"]), f"{gate['limit']:g}"]
        yield f"| {' | '.join(map(_plain, cells))} |"
    yield ""


def _plain(value: Any) -> str:
    """A value as text on one line, in which nothing is read as Markdown or HTML."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return SPECIAL.sub(r"\\\1", html.escape(words, quote=False))
