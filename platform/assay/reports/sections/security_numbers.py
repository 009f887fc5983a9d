"""The security curves in numbers: areas, the epsilons that turn decisions, the bracket, and norms without a curve."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from assay.errors import DataError
from assay.metrics import certified
from assay.metrics.security_curve import CONFIDENCE, Quartiles, quartiles
from assay.reports.sections._attackers import attackers
from assay.reports.sections._html import REGIMES, Section, norm, section
from assay.store import parquet
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.figures import Figure
from assay.store.schemas import MINIMAL
from assay.store.score_matrix import WORST
from assay.units import PERCENT, in_255

ORDER = 55
SOURCES = ("metrics.parquet", "minimal/")

TEMPLATE = """
{% if rows %}
<h3>Areas and distances</h3>
<p>Area: under the curve up to its largest budget, 1 at best. Epsilon that turns decisions: by which a quarter, half and
three quarters of the samples that were decided rightly are decided wrongly; a stronger attack may need less. Below
them their {{ (confidence * 100) | round | int }}% intervals, from order statistics, which assume nothing of how the
epsilons are distributed.</p>
{% call table("Areas and epsilons") %}
<thead><tr><th>Norm</th><th>Area, worst case [interval]</th><th>Area, certified</th>
<th>Turns normals (¼, ½, ¾)</th><th>Turns anomalies (¼, ½, ¾)</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><td>{{ row.norm }}</td><td>{{ row.worst | estimate }}</td><td>{{ row.certified | estimate }}</td>
{% for turned in row.turned %}<td class="nowrap">{{ turned.epsilons }}{% if turned.intervals %}<br>
<span class="note">{{ turned.intervals }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{% if brackets %}
<h3>The bracket</h3>
{% call table("Certified floor and worst case") %}
<thead><tr><th>Budget</th><th>Regime</th><th>Certified AUROC</th><th>Worst-case AUROC</th><th>Width</th></tr></thead>
<tbody>
{% for row in brackets %}
<tr><td class="nowrap">{{ row.budget | budget }}</td><td>{{ row.regime }}</td><td>{{ row.floor | estimate }}</td>
<td>{{ row.worst | estimate }}</td><td>{{ row.width | number }}{% if row.width < 0 %}
 (a contradiction: a bound or a score is wrong){% endif %}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{% if attackers %}
<h3>What is proven for whom</h3>
<p>A floor holds for the attacker that it is proven for. Somebody who puts all he has into one place is another one, and
so is another lamp.</p>
{% call table("Every kind of attacker") %}
<thead><tr><th>Attacker</th><th>Budget</th><th>Certified AUROC</th><th>What is left</th><th>By</th></tr></thead>
<tbody>
{% for row in attackers %}
<tr><td>{{ row.name }}</td>
<td class="nowrap">{% if row.budget is none %}–{% elif row.budget.norm == "corruption" -%}
severity {{ row.budget.epsilon | int }}{% else %}{{ row.budget | budget }}{% endif %}</td>
<td>{% if row.proven %}{{ row.proven | estimate }}{% else %}nothing is proven{% endif %}</td>
<td>{% if row.left %}{{ row.left | estimate }}{% else %}not attacked by this suite{% endif %}</td>
<td>{{ row.by or "–" }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{% if shares %}
<h3>Patches and placement</h3>
{% call table("Patches and placement") %}
<thead><tr><th>Budget</th><th>Attack</th>
{% for regime in regimes %}<th>AUROC, {{ regime }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in shares %}
<tr><td class="nowrap">{{ row.budget | budget }}</td><td>{{ row.attack }}</td>
{% for point in row.points %}<td>{{ point | estimate }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{% if not (rows or brackets or shares) %}
<p>The audit measured no area, no certificate, no smallest epsilon and no patches.</p>
{% endif %}
"""


def security_numbers(audit: Audit) -> Section:
    """The area under each curve, the epsilons that turn decisions, what is proven beside what was seen, and patches."""
    return section(
        "Security curves in numbers",
        TEMPLATE,
        rows=_numbers(audit, [name for name in audit.norms if name not in PERCENT]),
        brackets=_brackets(audit),
        attackers=attackers(audit),
        shares=_shares(audit),
        regimes=REGIMES.values(),
        confidence=CONFIDENCE,
    )


class Turned(NamedTuple):
    """The epsilons that turn a quarter, half and three quarters of a class, and their intervals, in words."""

    epsilons: str
    intervals: str


class Numbers(NamedTuple):
    """What one norm's curves come to; turned: the epsilons that turn normals and anomalies."""

    norm: str
    worst: Figure | None
    certified: Figure | None
    turned: list[Turned]


class BracketRow(NamedTuple):
    """The proven floor and the worst case of one budget and regime, and how far apart they are."""

    budget: ThreatBudget
    regime: str
    floor: Figure | None
    worst: Figure | None
    width: float


class ShareRow(NamedTuple):
    """The AUROC of an attack in every regime, at a budget that is a share."""

    budget: ThreatBudget
    attack: str
    points: list[Figure | None]


def _numbers(audit: Audit, names: list[str]) -> list[Numbers]:
    """For every norm the areas under its curves and the epsilons that turn decisions; empty where none was measured."""
    turned = {(row.norm, row.label): row for row in quartiles(_minimal(audit))}
    rows = []
    for name in names:
        largest = audit.budgets_of(name)[-1]
        worst, floor = (audit.attacked("curve_area", largest, "both", attack) for attack in (WORST, certified.ATTACK))
        of_norm = [turned.get((name, label)) for label in (0, 1)]
        if worst or floor or any(of_norm):
            rows.append(Numbers(norm(name), worst, floor, [_in_words(row) for row in of_norm]))
    return rows


def _in_words(row: Quartiles | None) -> Turned:
    if row is None:
        return Turned("not measured", "")

    def word(cut: float) -> str:
        return f"> {in_255(row.largest, row.norm)}" if cut > row.largest else in_255(cut, row.norm)

    cuts = ", ".join(map(word, (row.quarter, row.half, row.three_quarters)))
    return Turned(cuts, ", ".join(f"[{word(low)}, {word(high)}]" for low, high in row.intervals))


def _minimal(audit: Audit) -> pa.Table:
    remedy = f"delete it and run: {audit.command}"
    try:
        return parquet.whole(audit.folder, audit.parts("minimal"), MINIMAL, remedy)
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"{audit.folder.place('minimal')} cannot be read ({error}); {remedy}") from error


def _brackets(audit: Audit) -> list[BracketRow]:
    rows = []
    for one in certified.brackets(audit.figures):
        if one.metric == "auroc":
            at = ThreatBudget(one.norm, one.epsilon)
            floor, worst = (audit.attacked("auroc", at, one.regime, attack) for attack in (certified.ATTACK, WORST))
            rows.append(BracketRow(at, REGIMES[one.regime], floor, worst, one.width))
    return rows


def _shares(audit: Audit) -> list[ShareRow]:
    """The worst case and every attack of the norms that have an epsilon or two rather than a curve."""
    rows = []
    for budget in (budget for budget in audit.budgets if budget.norm in PERCENT):
        for attack in (WORST, *(entry["name"] for entry in audit.attacks(budget.norm))):
            points = [audit.attacked("auroc", budget, regime, attack) for regime in REGIMES]
            if any(points):
                rows.append(ShareRow(budget, "worst case" if attack == WORST else attack, points))
    return rows
