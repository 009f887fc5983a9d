"""How well each rung of the sweep's fidelity ladder ranked trials, and whether a cheap attack misled."""

from __future__ import annotations

from assay.metrics.rungs import FEWEST, MISLED
from assay.reports.sections._html import Section, section
from assay.reports.sections._sweep import NO_SWEEP, kept
from assay.store.audit_reader import Audit
from assay.store.schemas import RUNGS

ORDER = 84
SOURCES = ("rungs.parquet",)

TEMPLATE = """
{% if why %}
<p>{{ why }}</p>
{% else %}
<p>Cheap attacks decided which trials were trained on. On a share of all trials, drawn at random, the full attack was
made at every rung as well, also where they were stopped. Correlation: Spearman's, of cheap and full robust AUROC of
these trials. Regret: by how much the best of them that was stopped lies above the best that went on.</p>
{% call table("Rungs of the fidelity ladder") %}
<caption>Lower rungs; a correlation needs {{ fewest }} checked trials</caption>
<thead><tr><th>Rung</th><th>Trials</th><th>Stopped</th><th>Checked</th><th>Correlation</th><th>Regret</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th class="nowrap">{{ row.rung }}</th><td>{{ row.passed }}</td><td>{{ row.stopped }}</td><td>{{ row.checked }}</td>
<td>{{ row.correlation | number if row.correlation == row.correlation else "–" }}</td>
<td>{{ row.regret | number if row.regret == row.regret else "–" }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% for row in rows if row.misled %}<p>Rung {{ row.rung }}: {{ row.misled }}.</p>{% endfor %}
{% if not rows | selectattr("misled") | list %}<p>No checked trial falls by more than {{ misled }} under the full
attack, so no cheap attack was seen to mislead.</p>{% endif %}
{% endif %}
"""


def rungs(audit: Audit) -> Section:
    """Trials, rank correlation and regret of every lower rung, and who was masked; or why there is none."""
    title, table = "Rungs of the search", kept(audit, "rungs", RUNGS)
    if table is None:
        why = NO_SWEEP if audit.trials is None else "The sweep had no fidelity ladder: one attack measured every trial."
        return section(title, TEMPLATE, why=why)
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return section(title, TEMPLATE, why=None, rows=rows, fewest=FEWEST, misled=MISLED)
