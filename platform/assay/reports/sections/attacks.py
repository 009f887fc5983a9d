"""Every attack by itself: AUROC at each budget, in each regime."""

from __future__ import annotations

from assay.reports.sections._html import REGIMES, Section, section
from assay.store.audit_reader import Audit, ThreatBudget

ORDER = 52
SOURCES = ("metrics.parquet",)
WORST = {"worst": "Worst case", "worst_8bit": "Worst case at 8 bits"}

TEMPLATE = """
<p>AUROC with its {{ (confidence * 100) | round | int }}% interval. The worst case takes each sample's worst score
over all attacks up to the budget, so it is never above that of the strongest attack.
{% if rounded %}At 8 bits: the same after every attacked image was rounded to whole grey levels, as a camera or a file
delivers it.{% endif %}
Average precision and the false-positive rate at 95% detection are in <code>metrics.parquet</code>.</p>
{% call table("AUROC of each attack") %}
<thead><tr><th>Attack</th><th>Budget</th>
{% for regime in regimes.values() %}<th>{{ regime | capitalize }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name, budget, first in rows %}
<tr class="{{ "group" if first }}{{ " chosen" if name in worst }}">
<th class="name"><span{% if not first %} class="again"{% endif %}>{{ worst[name] or name }}</span>
<span class="in-card">{{ budget | budget }}</span></th>
<td class="nowrap in-column">{{ budget | budget }}</td>
{% for regime in regimes %}<td>{{ audit.attacked("auroc", budget, regime, name) | estimate }}</td>{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endcall %}
"""


def attacks(audit: Audit) -> Section:
    """The table attack x budget x regime, with intervals; the per-sample worst case of each norm comes last."""
    rows = []
    for norm in audit.norms:
        budgets = audit.budgets_of(norm)
        lines = {
            entry["name"]: [ThreatBudget(norm, epsilon) for epsilon in entry["epsilons"]]
            for entry in audit.attacks(norm)
        }
        lines |= {name: budgets for name in WORST if any(audit.attacked("auroc", at, attack=name) for at in budgets)}
        rows += [(name, at, place == 0) for name, measured in lines.items() for place, at in enumerate(measured)]
    return section(
        "Results of each attack",
        TEMPLATE,
        audit=audit,
        rows=rows,
        worst=WORST,
        rounded=any(name == "worst_8bit" for name, *_ in rows),
        regimes=REGIMES,
        confidence=audit.confidence,
    )
