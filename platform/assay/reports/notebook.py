"""What a sweep and an audit show of themselves in a notebook: a table and a picture, as HTML that stands alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from assay import shelves
from assay.reports.sections._figures import BLUE, GREY, figure
from assay.reports.sections._html import ENVIRONMENT, number
from assay.store.audit_reader import Audit
from assay.store.trials_table import Trial

SECTIONS = ("summary", "verdict", "security_curves")
"""Sections of the report that a notebook shows of an audit."""

SWEEP = """
<div class="assay">
<p><strong>Sweep {{ name }}</strong>: {{ counts }}{{ "; ended early (%s)" | format(interrupted) if interrupted }}</p>
{{ picture or "" }}
<table><thead><tr><th>Trial</th>{% for goal in goals %}<th>{{ goal }}</th>{% endfor %}<th>Parameters</th></tr></thead>
<tbody>{% for trial in front %}<tr><th>{{ trial.number }}</th>
{% for goal in goals %}<td>{{ number(trial.objectives[goal]) }}</td>{% endfor %}
<td>{{ trial.varied }}</td></tr>{% endfor %}</tbody></table>
{% if not front %}<p>No trial is on the Pareto front yet.</p>{% endif %}
</div>
"""

AUDIT = """
<div class="assay">
{% for part in parts %}<h3>{{ part.title }}</h3>{{ part.html }}{% endfor %}
</div>
"""


def sweep_html(name: str, directions: Mapping[str, str], trials: Sequence[Trial], interrupted: str = "") -> str:
    """The Pareto front of a sweep as a table, and where two objectives are, all trials as points."""
    states = Counter(trial.state for trial in trials)
    front = [trial for trial in trials if trial.pareto]
    return ENVIRONMENT.from_string(SWEEP).render(
        name=name,
        counts=", ".join(f"{count} {state}" for state, count in states.items()) or "no trial yet",
        interrupted=interrupted,
        goals=list(directions),
        front=front,
        picture=scatter(list(directions), trials),
        number=number,
    )


def audit_html(audit: Audit) -> str:
    """The head of an audit's report: what was audited, the gates where there is a verdict, the security curves."""
    return ENVIRONMENT.from_string(AUDIT).render(parts=[shelves.load("sections", name)(audit) for name in SECTIONS])


def scatter(goals: Sequence[str], trials: Sequence[Trial]) -> Markup | None:
    """The first two objectives of trials as points, the Pareto front in blue; None where there are none to draw."""
    measured = [trial for trial in trials if all(trial.objectives.get(goal) is not None for goal in goals)]
    if len(goals) < 2 or not measured:
        return None
    across, up = goals[:2]

    def draw(axes: Axes) -> None:
        for on_front, colour in ((False, GREY), (True, BLUE)):
            chosen = [trial for trial in measured if trial.pareto is on_front]
            axes.plot(
                [float(trial.objectives[across] or 0) for trial in chosen],
                [float(trial.objectives[up] or 0) for trial in chosen],
                linestyle="",
                marker="o",
                color=colour,
                label="Pareto front" if on_front else "other trials",
            )
        axes.set_xlabel(across)
        axes.set_ylabel(up)

    description = f"{len(measured)} trials, those on the Pareto front in blue"
    return figure("sweep", f"{up} over {across}, on validation images", description, draw)
