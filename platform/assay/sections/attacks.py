"""Every attack by itself: AUROC at each budget, in each regime."""

from __future__ import annotations

from assay.audit_folder import Audit
from assay.sections._html import REGIMES, Section, section

ORDER = 60

TEMPLATE = """
<p>AUROC with its {{ (confidence * 100) | round | int }}% interval. The worst case takes each sample's worst score
over all attacks up to the budget, so it is never above that of the strongest attack.
Average precision and the false-positive rate at 95% detection are in <code>metrics.parquet</code>.</p>
{{ table("AUROC of each attack") }}
<table>
<thead><tr><th>Attack</th><th>Budget</th>
{% for regime in regimes.values() %}<th>AUROC, {{ regime }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name, budget, first in rows %}
<tr class="{{ "group" if first }}{{ " chosen" if name == "worst" }}">
<th class="name">{{ ("Worst case" if name == "worst" else name) if first }}</th>
<td class="nowrap">{{ budget | budget }}</td>
{% for regime in regimes %}<td>{{ audit.attacked("auroc", budget, regime, name) | estimate }}</td>{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
"""


def attacks(audit: Audit) -> Section:
    """The table attack x budget x regime, with intervals; the per-sample worst case of each norm stands last."""
    rows = [
        (name, budget, place == 0)
        for norm in audit.norms
        for name in [*(entry["name"] for entry in audit.attacks(norm)), "worst"]
        for place, budget in enumerate(audit.budgets_of(norm))
    ]
    return section(
        "Results of each attack", TEMPLATE, audit=audit, rows=rows, regimes=REGIMES, confidence=audit.confidence
    )
