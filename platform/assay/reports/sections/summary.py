"""The figures on one page: clean and worst case, each with its interval and the samples behind it."""

from __future__ import annotations

from assay.approval.verdict import verdict_of
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit

ORDER = 11
SOURCES = ("metrics.parquet", "audit.yaml")

TEMPLATE = """
{% if invalid %}
<p class="mark invalid">The audit is INVALID: these figures must not be relied on.</p>
{% endif %}
<p>In the worst case, every sample counts with its worst score over all attacks up to the budget. AUROC is
under both regimes at once: the attacker hides anomalies and raises normals. Rates are at the deployed
threshold {{ threshold.value | number }}.
Brackets are {{ (confidence * 100) | round | int }}% intervals.</p>
{% call table("Key figures") %}
<caption>{{ samples.normals | number }} normal and {{ samples.anomalies | number }} anomalous test images
{{- ", in %d and %d groups over which the intervals are" | format(groups.normals, groups.anomalies) if groups }}
{{- "; bold: the suite's headline budget" if headline }}</caption>
<thead><tr><th>Images</th><th>AUROC</th><th>Miss rate (anomalies)</th><th>False-alarm rate (normals)</th></tr></thead>
<tbody>
<tr><th>Clean</th><td>{{ audit.clean("auroc") | estimate }}</td>
<td>{{ audit.clean("miss_rate") | estimate }}</td><td>{{ audit.clean("false_alarm_rate") | estimate }}</td></tr>
{% for budget in budgets %}
<tr{% if budget.norm == headline %} class="chosen"{% endif %}>
<th>Worst case, {{ budget | budget }}</th><td>{{ audit.attacked("auroc", budget) | estimate }}</td>
<td>{{ audit.rate("miss_rate", budget) | estimate }}</td>
<td>{{ audit.rate("false_alarm_rate", budget) | estimate }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
"""


def summary(audit: Audit) -> Section:
    """Clean and worst-case AUROC, miss rate and false-alarm rate at one budget of each norm, with intervals."""
    verdict = verdict_of(audit)
    return section(
        "Key figures",
        TEMPLATE,
        audit=audit,
        invalid=verdict is not None and verdict.verdict == "INVALID",
        budgets=[audit.shown(name) for name in audit.norms],
        headline=(audit.info["suite"].get("headline") or {}).get("norm"),
        threshold=audit.info["threshold"],
        samples=audit.info["samples"],
        groups=audit.info.get("groups"),
        confidence=audit.confidence,
    )
