"""What the audit cost: passes through the detector and seconds; and what it costs an attacker to break a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.metrics.attack_cost import ANY
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit, Columns, ThreatBudget

ORDER = 62
SOURCES = ("cost.parquet", "checks.parquet")

CONVERGENCE = (
    "converged_in_steps", "converged_in_restarts", "iterative_beats_single_step", "best_iterate_kept", "cold_start",
    "monotone_in_epsilon",
)  # fmt: skip
"""The checks that say whether an attack with more effort would have found more."""

TEMPLATE = """
<h3>Would more effort have found more?</h3>
{% if convergence %}
<dl>
{% for check, outcome, evidence in convergence %}
<dt>{{ check.replace("_", " ") }}: {{ outcome }}</dt><dd>{{ evidence | signs }}</dd>
{% endfor %}
</dl>
{% else %}
<p>No check of convergence was made: stronger attacks may find more.</p>
{% endif %}
<h3>What the audit cost</h3>
{% call table("Cost of each attack") %}
<caption>An attacked image is one sample at one budget in one regime; in brackets, per attacked image; seconds of
all workers are added up</caption>
<thead><tr><th>Attack</th><th class="right">Attacked images</th><th class="right">Forward passes</th>
<th class="right">Backward passes</th><th class="right">Seconds</th></tr></thead>
<tbody>
{% for row in rows %}
<tr{% if loop.last %} class="chosen"{% endif %}><th class="name">{{ row.name }}</th>
<td class="right">{{ row.images | number }}</td>
<td class="right">{{ row.forwards | number }} ({{ "%.1f" | format(row.forwards / row.images) }})</td>
<td class="right">{{ row.backwards | number }} ({{ "%.1f" | format(row.backwards / row.images) }})</td>
<td class="right">{{ "%.1f" | format(row.seconds) }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">{{ "By the clock the audit took %.0f s, checks and figures included." | format(seconds) if seconds }}
More passes are no proof of strength.</p>
<h3>What it takes to break a sample</h3>
<p>At risk is a sample that the detector decides rightly when clean; it is broken once its score is on the other side of
the threshold. By what the attacker must know, any of his attacks; queries are passes through the detector until then.
</p>
{% call table("Cost to break a sample, by knowledge") %}
<caption>Median, in brackets the quartiles, over the broken samples whose moment of breaking is known</caption>
<thead><tr><th>Knowledge</th><th>Budget</th><th class="right">Broken of those at risk</th>
<th class="right">Queries</th><th class="right">Seconds</th></tr></thead>
<tbody>
{% for row in broken %}
<tr class="{{ "group" if loop.changed(row.knowledge) }}"><th class="nowrap">{{ row.knowledge }}</th>
<td class="nowrap">{{ row.budget | budget }}</td>
<td class="right">{{ row.broken | number }} of {{ row.at_risk | number }}</td>
{% if row.timed %}
<td class="right nowrap">{{ row.queries }}</td><td class="right nowrap">{{ row.seconds }}</td>
{% else %}
<td class="right">–</td><td class="right">–</td>
{% endif %}
</tr>
{% endfor %}
</tbody>
{% endcall %}
"""


def cost(audit: Audit) -> Section:
    """Passes and seconds of every attack, in all and per attacked image; cost to break a sample, by knowledge."""
    c = audit.cost
    masks = {entry["name"]: c["attack"] == entry["name"] for entry in audit.attacks()}
    masks["All attacks"] = c["attack"] != ANY
    rows = [_spent(c, name, mask) for name, mask in masks.items() if mask.any()]
    broken = [_broken(c, row) for row in np.flatnonzero(~masks["All attacks"]).tolist()]
    return section(
        "Convergence and cost",
        TEMPLATE,
        convergence=_convergence(audit),
        rows=rows,
        broken=broken,
        seconds=audit.info.get("seconds"),
    )


def _convergence(audit: Audit) -> list[tuple[str, str, str]]:
    """Check, outcome and evidence of the checks of CONVERGENCE that were made."""
    c = audit.checks
    made = {check: row for check, *row in zip(c["check"], c["passed"], c["evidence"], strict=True)}
    outcome = {True: "passed", False: "did not pass", None: "not run"}
    return [(name, outcome[made[name][0]], made[name][1]) for name in CONVERGENCE if name in made]


class Spent(NamedTuple):
    """What an attack cost at all its budgets together; seconds: of all workers."""

    name: str
    images: int
    forwards: int
    backwards: int
    seconds: float


class Broken(NamedTuple):
    """How many samples those with some knowledge broke within a budget; queries, seconds: median and quartiles."""

    knowledge: str
    budget: ThreatBudget
    broken: int
    at_risk: int
    timed: int
    queries: str
    seconds: str


def _spent(c: Columns, name: str, mask: NDArray[np.bool_]) -> Spent:
    images, forwards, backwards = (int(c[column][mask].sum()) for column in ("samples", "forwards", "backwards"))
    return Spent(name, images, forwards, backwards, float((c["seconds_per_sample"] * c["samples"])[mask].sum()))


def _broken(c: Columns, row: int) -> Broken:
    return Broken(
        knowledge=str(c["knowledge"][row]),
        budget=ThreatBudget(str(c["norm"][row]), float(c["epsilon"][row])),
        broken=int(c["broken"][row]),
        at_risk=int(c["at_risk"][row]),
        timed=int(c["timed"][row]),
        queries=_quartiles("{:,.0f}", c, row, "queries"),
        seconds=_quartiles("{:.2g}", c, row, "seconds"),
    )


def _quartiles(form: str, c: Columns, row: int, name: str) -> str:
    low, middle, high = (form.format(c[f"{name}_{percent}"][row]) for percent in (25, 50, 75))
    return f"{middle} [{low}, {high}]"
