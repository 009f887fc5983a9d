"""How the model compares, sample by sample, with the one it would replace."""

from __future__ import annotations

from typing import NamedTuple

from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit, ThreatBudget

ORDER = 65
SOURCES = ("comparison.json",)
METRICS = {"auroc": "AUROC", "miss_rate": "Miss rate", "false_alarm_rate": "False-alarm rate"}

TEMPLATE = """
{% if comparison is none %}
<p>This model was not compared with another one. To compare it with the model it would replace:</p>
<pre>assay compare APPROVED {{ info.audit }}</pre>
{% elif comparison.not_compared %}
<p class="mark inconclusive">Model <code>{{ comparison.a.model }}</code>, approved as {{ comparison.approved_as }},
could not be compared with this one, audit <code>{{ comparison.a.audit }}</code>: {{ comparison.not_compared }}.</p>
{% else %}
<p><strong>{{ "Regression" if comparison.regression else "No regression found" }}</strong> against audit
<code>{{ comparison.a.audit }}</code> of model <code>{{ comparison.a.model }}</code>
{{- ", approved as " ~ comparison.approved_as ~ " until now" if comparison.approved_as -}}, on the same
{{ comparison.samples.normals | number }} normal and {{ comparison.samples.anomalies | number }} anomalous images
{{- " of %d and %d groups" | format(comparison.groups.normals, comparison.groups.anomalies) if comparison.groups }}
{{- ", with a margin of %g" | format(comparison.margin) if comparison.margin }}.</p>
{% if comparison.a.failed_checks %}
<p class="mark invalid">The other audit did not pass {{ comparison.a.failed_checks | join(", ") }}: its figures must not
be relied on.</p>
{% endif %}
{% call table("Difference to the other model") %}
<caption>This model less the other one, with the paired interval; a figure whose whole interval is worse regressed
</caption>
<thead><tr><th>Images</th>{% for name in metrics.values() %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in lines %}
<tr><th class="nowrap">{{ ("Worst case, " ~ (line.budget | budget)) if line.budget else "Clean" }}</th>
{% for metric in metrics %}
<td{% if line.figures[metric].regressed %} class="mark fail"{% endif %}>
{{ "✕" if line.figures[metric].regressed }} {{ line.figures[metric] | estimate }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">Paired bootstrap, {{ comparison.multiplicity }}, {{ (comparison.confidence * 100) | round | int }}%
together. Rates are at each model's own threshold.
{% if comparison.left_out %}Not alike in both audits, and so left out: {{ comparison.left_out | join("; ") }}.
{% endif %}</p>
{% endif %}
"""


class Difference(NamedTuple):
    """A figure of this model less that of the other one, with its paired interval."""

    value: float
    lower: float
    upper: float
    regressed: bool


class Line(NamedTuple):
    """The differences by metric, on clean images (budget None) or in the worst case at a budget."""

    budget: ThreatBudget | None
    figures: dict[str, Difference]


def comparison(audit: Audit) -> Section:
    """The tested differences to the model that would be replaced, or how to make the comparison."""
    content = audit.comparison
    lines: dict[ThreatBudget | None, Line] = {}
    for figure in (content or {}).get("figures", []):
        if figure["headline"]:
            budget = ThreatBudget(figure["norm"], figure["epsilon"]) if figure["norm"] else None
            line = lines.setdefault(budget, Line(budget, {}))
            line.figures[figure["metric"]] = Difference(
                figure["difference"], figure["lower"], figure["upper"], figure["regressed"]
            )
    return section(
        "Compared with the former model",
        TEMPLATE,
        info=audit.info,
        comparison=content,
        lines=list(lines.values()),
        metrics=METRICS,
    )
