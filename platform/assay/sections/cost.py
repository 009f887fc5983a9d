"""What the audit cost: passes through the detector and seconds, by attack."""

from __future__ import annotations

from assay.audit_folder import Audit
from assay.sections._html import Section, section

ORDER = 100

TEMPLATE = """
{{ table("Cost of each attack") }}
<table>
<caption>An attacked image is one sample at one budget in one regime</caption>
<thead><tr><th>Attack</th><th class="right">Attacked images</th><th class="right">Forward passes</th>
<th class="right">Backward passes</th><th class="right">Forwards each</th><th class="right">Backwards each</th>
<th class="right">Seconds</th></tr></thead>
<tbody>
{% for row in rows %}
<tr{% if loop.last %} class="chosen"{% endif %}><th class="name">{{ row.name }}</th>
<td class="right">{{ row.images | number }}</td>
<td class="right">{{ row.forwards | number }}</td>
<td class="right">{{ row.backwards | number }}</td>
<td class="right">{{ "%.1f" | format(row.forwards / row.images) }}</td>
<td class="right">{{ "%.1f" | format(row.backwards / row.images) }}</td>
<td class="right">{{ "%.1f" | format(row.seconds) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="note">{{ "The whole audit took %.0f s with its checks and figures." | format(seconds) if seconds }}
More passes are no proof of strength; the convergence checks are.</p>
"""


def cost(audit: Audit) -> Section:
    """Forward passes, backward passes and seconds of every attack, in all and per attacked image."""
    s = audit.scores
    masks = {entry["name"]: s["attack"] == entry["name"] for entry in audit.attacks()}
    masks["All attacks"] = s["attack"] != ""
    rows = [
        {
            "name": name,
            "images": int(mask.sum()),
            "forwards": int(s["forwards"][mask].sum()),
            "backwards": int(s["backwards"][mask].sum()),
            "seconds": float(s["seconds"][mask].sum()),
        }
        for name, mask in masks.items()
        if mask.any()
    ]
    return section("Cost", TEMPLATE, rows=rows, seconds=audit.info.get("seconds"))
