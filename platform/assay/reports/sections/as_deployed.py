"""The file that is deployed beside the detector that was audited: do its figures hold for what runs on the line?"""

from __future__ import annotations

from typing import NamedTuple

from assay.metrics.deployed import DIFFER
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.figures import Figure
from assay.store.score_matrix import CLEAN, DEPLOYED, WORST

ORDER = 57
SOURCES = ("deployed/", "metrics.parquet", "checks.parquet", "audit.yaml")

TEMPLATE = """
{% if not file %}
<p>No file was named that is deployed in place of the detector: every figure is of the detector itself. If another
file, made of it, is what runs in the end, nothing here says that it scores alike.</p>
{% else %}
<p><code>{{ file.detector }}</code> ({{ file.kind }}, SHA-256 <code>{{ file.weights_sha256 }}</code>) is deployed in
place of the audited detector.
{% if equal is none %}Whether the two score alike was not checked.
{% elif equal %}<span class="mark pass">✓ It scores and decides alike.</span>
{% else %}<span class="mark fail">✕ It does not score and decide alike: what is deployed is not what was audited.</span>
{% endif %} {{ evidence }}{{ "." if evidence }}</p>
{% call table("As audited and as deployed") %}
<caption>Both at their threshold, with {{ (audit.confidence * 100) | round | int }}% intervals</caption>
<thead><tr><th>Images</th><th>AUROC, audited</th><th>AUROC, deployed</th><th>Misses, audited</th>
<th>Misses, deployed</th><th>False alarms, audited</th><th>False alarms, deployed</th>
<th>Decisions that differ</th></tr></thead>
<tbody>
{% for line in lines %}
<tr><th class="nowrap">{{ ("Worst case, " ~ (line.budget | budget)) if line.budget else "Clean" }}</th>
{% for figure in line.figures %}<td>{{ figure | estimate }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">The attacks were made on the audited detector, and the images found were replayed on the file. Whoever
attacks the file itself may find more. Miss rates are of hidden anomalies, false-alarm rates of raised normals, both at
the threshold {{ thresholds }}.</p>
{% endif %}
"""


class Line(NamedTuple):
    """The figures on clean images (budget None), or in the worst case at a budget, in the order of the columns."""

    budget: ThreatBudget | None
    figures: list[Figure | None]


def as_deployed(audit: Audit) -> Section:
    """AUROC and rates of the deployed file beside those of the audited detector, clean and attacked."""
    file = audit.info.get("deployed")
    rows = zip(*(audit.checks[name].tolist() for name in ("check", "passed", "evidence")), strict=True)
    equal, evidence = {name: (passed, text) for name, passed, text in rows}.get("deployed_equal", (None, ""))
    return section(
        "As deployed",
        TEMPLATE,
        audit=audit,
        file=file,
        equal=equal,
        evidence=str(evidence).rstrip("."),
        lines=[_line(audit, at) for at in (None, *audit.budgets)],
        thresholds=_thresholds(audit),
    )


def _line(audit: Audit, at: ThreatBudget | None) -> Line:
    pairs: list[Figure | None] = []
    for metric in ("auroc", "miss_rate", "false_alarm_rate"):
        for prefix in ("", DEPLOYED):
            if at is None:
                pairs.append(audit.clean(metric, attack=prefix + CLEAN))
            elif metric == "auroc":
                pairs.append(audit.attacked(metric, at, attack=prefix + WORST))
            else:
                pairs.append(audit.rate(metric, at, prefix + WORST))
    differ = audit.attacked(DIFFER, at, attack=DEPLOYED + WORST) if at else audit.clean(DIFFER, attack=DEPLOYED + CLEAN)
    return Line(at, [*pairs, differ])


def _thresholds(audit: Audit) -> str:
    """`0.412`, or both where the file's scores are on a scale of their own."""
    audited, file = float(audit.info["threshold"]["value"]), audit.info.get("deployed") or {}
    own = f", of the file {float(file['threshold']):.4g}" if file.get("own_scale") else ""
    return f"{audited:.4g}{own}"
