"""The figures on one page: clean and worst case, each with its interval and the samples behind it."""

from __future__ import annotations

from assay.audit_folder import Audit, Budget
from assay.sections._html import Section, section

ORDER = 20

TEMPLATE = """
{% if audit.verdict and audit.verdict.verdict == "INVALID" %}
<p class="mark invalid">The audit is INVALID: these figures must not be relied on.</p>
{% endif %}
<p>In the worst case, every sample counts with its worst score over all attacks up to the budget. AUROC is
under both regimes at once: the attacker hides anomalies and raises normals. Rates are at the deployed
threshold {{ threshold.value | number }}.
Brackets are {{ (confidence * 100) | round | int }}%
intervals.</p>
{{ table("Key figures") }}
<table>
<caption>{{ samples.normals | number }} normal and {{ samples.anomalies | number }} anomalous test images
{{- "; bold: clean, and the suite's headline budget" if headline }}</caption>
<thead><tr><th>Images</th><th>AUROC</th><th>Miss rate (anomalies)</th><th>False-alarm rate (normals)</th></tr></thead>
<tbody>
<tr class="chosen"><th class="nowrap">Clean</th><td>{{ audit.clean("auroc") | estimate }}</td>
<td>{{ audit.clean("miss_rate") | estimate }}</td><td>{{ audit.clean("false_alarm_rate") | estimate }}</td></tr>
{% for budget in audit.budgets %}
<tr class="{{ "group" if loop.changed(budget.norm) }}{{ " chosen" if budget == headline }}">
<th class="nowrap">Worst case, {{ budget | budget }}</th><td>{{ audit.attacked("auroc", budget) | estimate }}</td>
<td>{{ audit.rate("miss_rate", budget) | estimate }}</td>
<td>{{ audit.rate("false_alarm_rate", budget) | estimate }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="note">Intervals of AUROC: the wider of a stratified bootstrap and Newcombe's closed form.
Of rates: Clopper-Pearson.</p>
{% if figures %}
<p>When the model was chosen, validation gave
{% for name, value in figures.items() %}{{ name | words }} {{ value | number }}{{ ", " if not loop.last }}{% endfor %}
{{- " (" ~ (evaluation | parameters) ~ ")" if evaluation }}. That was on other images and
under the sweep's own attack;
a much lower figure here suggests that the attack which screened the trials was too weak.</p>
{% endif %}
{% if audit.defects | length > 1 %}
<h3>AUROC by kind of defect</h3>
{{ table("AUROC by kind of defect") }}
<table>
<caption>Each kind against all normals</caption>
<thead><tr><th>Images</th>{% for defect in audit.defects %}<th class="name">{{ defect }}
({{ (audit.clean("auroc", defect)).anomalies | number }})</th>{% endfor %}</tr></thead>
<tbody>
<tr class="chosen"><th class="nowrap">Clean</th>
{% for defect in audit.defects %}<td>{{ audit.clean("auroc", defect) | estimate }}</td>{% endfor %}</tr>
{% for budget in audit.budgets %}
<tr class="{{ "group" if loop.changed(budget.norm) }}">
<th class="nowrap">Worst case, {{ budget | budget }}</th>
{% for defect in audit.defects %}
<td>{{ audit.attacked("auroc", budget, defect=defect) | estimate }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
"""


def summary(audit: Audit) -> Section:
    """Clean and worst-case AUROC, miss rate and false-alarm rate, with intervals; AUROC by kind of defect."""
    figures = {name: value for name, value in audit.manifest.get("figures", {}).items() if isinstance(value, float)}
    headline = audit.info["suite"].get("headline")
    return section(
        "Key figures",
        TEMPLATE,
        audit=audit,
        headline=Budget(headline["norm"], headline["epsilon"]) if headline else None,
        threshold=audit.info["threshold"],
        samples=audit.info["samples"],
        confidence=audit.confidence,
        figures=figures,
        evaluation=audit.manifest.get("evaluation") or {},
    )
