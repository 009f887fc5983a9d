"""The first page: every sweep, study and audit of the store, and the register of models."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from assay.approval import records, registry
from assay.approval.registry import Standing
from assay.errors import AssayError
from assay.reports.live import outlook
from assay.reports.live.audits import Line
from assay.reports.live.frame import DAMAGED, problem
from assay.reports.live.sweeps import LiveSweep
from assay.reports.sections._html import Section, section
from assay.store.store import Store

SWEEPS = """
{% if rows %}
{% call table("Sweeps") %}
<thead><tr><th>Sweep</th><th>State</th><th>Ended</th><th>Last event</th><th>Best figures</th></tr></thead>
<tbody>{% for row in rows %}<tr><th class="name"><a href="{{ base }}/sweeps/{{ row.name }}">{{ row.name }}</a></th>
{% if row.problem %}<td colspan="4" class="wide">{{ row.problem }}</td>
{% else %}<td>{{ row.state }}</td><td>{{ row.ended }}</td><td>{{ row.last }}</td>
<td class="wide">{{ row.best }}</td>{% endif %}</tr>
{% endfor %}</tbody>
{% endcall %}
{% else %}<p>There is no sweep yet: <code>assay sweep FILE</code> makes one.</p>{% endif %}
"""

AUDITS = """
{% if lines %}
{% call table("Audits") %}
<thead><tr><th>Audit</th><th>State</th><th>Model</th><th>Suite</th></tr></thead>
<tbody>{% for line in lines %}<tr><th class="name"><a href="{{ base }}/audits/{{ line.name }}">{{ line.name }}</a></th>
{% if line.problem %}<td colspan="3" class="wide">{{ line.problem }}</td>
{% else %}<td class="wide">{{ line.state }}</td><td>{{ line.of or "–" }}</td>
<td>{{ line.suite or "–" }}</td>{% endif %}</tr>
{% endfor %}</tbody>
{% endcall %}
{% if more %}<p class="note">{{ more }} older ones are left out.</p>{% endif %}
{% else %}<p>There is no audit yet: <code>assay audit SWEEP:best</code> makes one.</p>{% endif %}
"""

REGISTER = """
{% if standings %}
{% call table("Register") %}
<thead><tr><th>Name</th><th>State</th><th>Serves as</th><th>Since</th><th>By</th><th>Verdict</th></tr></thead>
<tbody>{% for one in standings %}<tr><th class="name">{{ one.name }} <code>{{ one.model[:12] }}</code></th>
<td>{{ one.state }}</td><td>{{ one.serves | join(", ") or "–" }}</td><td>{{ one.since }}</td><td>{{ one.by }}</td>
<td>{{ one.verdict or "–" }}</td></tr>
{% endfor %}</tbody>
{% endcall %}
{% else %}<p>No model is audited yet.</p>{% endif %}
{% for what in doubts %}<p class="problem">{{ what }}</p>{% endfor %}
"""

STUDIES = """
<ul>{% for name, page in studies.items() %}<li>{{ name }}: {% if page %}
<a href="{{ base }}/studies/{{ name }}/study.html">the page that compares its detectors</a>
{% else %}no page yet; its cells are sweeps{% endif %}</li>{% endfor %}</ul>
"""

MOST = 200
"""Audits that the list shows."""


def sweeps(live: Sequence[LiveSweep], problems: Mapping[str, str], base: str, now: float) -> Section:
    """Every sweep of the store, those that run first; problems: name -> why it cannot be read."""
    rows: list[dict[str, Any]] = [{"name": name, "problem": why, "order": (2, 0.0)} for name, why in problems.items()]
    for one in live:
        try:
            rows.append(_row(one, now))
        except DAMAGED as error:
            rows.append({"name": one.name, "problem": f"its files are damaged ({error})", "order": (2, 0.0)})
    return section("Sweeps", SWEEPS, rows=sorted(rows, key=lambda row: row["order"]), base=base)


def _row(one: LiveSweep, now: float) -> dict[str, Any]:
    stands, last = one.outlook(now), one.log.last
    return {
        "name": one.name,
        "state": stands.state,
        "ended": f"{stands.total - stands.left} of {stands.total}",
        "last": f"{outlook.ago(now - last)} ago" if last else "–",
        "best": _best(one),
        "order": (0 if stands.alive else 1, -(last or 0)),
    }


def _best(one: LiveSweep) -> str:
    """The best of each objective among the complete trials; they need not be of one trial."""
    told = []
    for goal, direction in one.goals.items():
        values = [value for trial in one.trials if trial.pareto and (value := trial.objectives.get(goal)) is not None]
        if values:
            told.append(f"{goal} {(max if direction == 'max' else min)(values):.3f}")
    return ", ".join(told) or "–"


def audits(lines: Sequence[Line], base: str) -> Section:
    """The audits of the store."""
    return section("Audits", AUDITS, lines=lines[:MOST], more=len(lines) - MOST if len(lines) > MOST else 0, base=base)


def studies(store: Store, base: str) -> Section | None:
    """The studies of the store; None where there is none."""
    found = {name: store.exists(f"studies/{name}/study.html") for name in store.names("studies")}
    return section("Studies", STUDIES, studies=found, base=base) if found else None


def register(store: Store, today: datetime.date) -> Section:
    """The models of the register with their state, as `assay models` lists them."""
    try:
        standings: list[Standing] = registry.standings(store, today)
        gaps = [f"{records.FOLDER}/{gap.entry} is {gap.what}; restore it from a copy" for gap in records.gaps(store)]
    except (AssayError, *DAMAGED) as error:
        return Section("Register", Markup(problem(f"The register cannot be read: {error}")))
    objections = [f"{one.name}: {what}" for one in standings for what in (one.objection, one.unsigned) if what]
    return section("Register", REGISTER, standings=standings, doubts=[*gaps, *objections])
