"""Audits on the page: those that run, with their progress, and those that ended, with verdict and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from assay.approval.verdict import verdict_of
from assay.audits import progress_file
from assay.errors import AssayError
from assay.reports.live.frame import DAMAGED, problem
from assay.reports.sections._html import ENVIRONMENT, Section, section
from assay.store import references
from assay.store.audit_reader import Audit
from assay.store.store import Store

FILES = ("audit.yaml", "verdict.json", progress_file.FILE)
"""What a line of the list is made of."""

ABOUT = """
<dl>{% for name, value in facts.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% if report %}<p><a href="{{ base }}/audits/{{ name }}/report.html">The report</a></p>
{% else %}<p>There is no report yet: <code>assay report {{ name }}</code> writes it.</p>{% endif %}
"""


@dataclass(frozen=True)
class Line:
    """An audit as the list shows it. problem: why its files cannot be read, else ""."""

    name: str
    state: str
    of: str = ""
    suite: str = ""
    created: str = ""
    problem: str = ""


@dataclass
class LiveAudits:
    """The audits of a store; each is read again only when one of FILES has changed."""

    store: Store
    _lines: dict[str, tuple[Mapping[str, float], Line]] = field(default_factory=dict)

    def lines(self, now: float) -> list[Line]:
        """Those that run, then the newest first."""
        names = self.store.names("audits")
        keys = {f"audits/{name}/{file}": name for name in names for file in FILES}
        modified: dict[str, dict[str, float]] = {name: {} for name in names}
        for key, at in (self.store.modified(list(keys)) if keys else {}).items():
            modified[keys[key]][key] = at
        found = []
        for name in names:
            known = self._lines.get(name)
            if known is None or known[0] != modified[name] or f"audits/{name}/audit.yaml" not in modified[name]:
                self._lines[name] = known = (modified[name], self._line(name, now))
            found.append((max(modified[name].values(), default=0.0), known[1]))
        ended = [f"audits/{line.name}/audit.yaml" in modified[line.name] for _, line in found]
        order = sorted(range(len(found)), key=lambda at: (ended[at], -found[at][0], found[at][1].name))
        return [found[at][1] for at in order]

    def _line(self, name: str, now: float) -> Line:
        try:
            if not self.store.exists(f"audits/{name}/audit.yaml"):
                return Line(name, progress_file.told(self.store, name, now) or "unfinished")
            audit = Audit(references.folder(self.store, name))
            verdict = verdict_of(audit)
            word = verdict.verdict if verdict else "not decided"
            return Line(name, word, _of(audit.info), str(audit.info["suite"]["name"]), str(audit.info["created"]))
        except (AssayError, *DAMAGED) as error:
            return Line(name, "cannot be read", problem=str(error) or type(error).__name__)

    def sections(self, name: str, base: str, now: float) -> list[Section]:
        """The page of one audit."""
        line = self._line(name, now)
        if line.problem:
            return [Section("Audit", problem(line.problem))]
        facts = {"State": line.state, "Model": line.of, "Suite": line.suite, "Made": line.created}
        if line.created:
            facts["Made"] = ENVIRONMENT.filters["moment"](line.created)
            info: Mapping[str, Any] = Audit(references.folder(self.store, name)).info
            facts |= {"Data": str(info["dataset"]["name"]), "Again": str(info["command"])}
        else:
            again = "The same <code>assay audit</code> command goes on with it."
            return [Section("Audit", Markup("<p>{}. {}</p>").format(line.state, Markup(again)))]
        report = self.store.exists(f"audits/{name}/report.html")
        return [section("Audit", ABOUT, facts=facts, name=name, base=base, report=report)]


def _of(info: Mapping[str, Any]) -> str:
    sweep, trial = info.get("sweep"), info.get("trial")
    return f"{sweep}:{trial}" if sweep and trial is not None else str(info["model"])[:12]
