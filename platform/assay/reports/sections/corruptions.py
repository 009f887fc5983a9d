"""What weather, wear, optics and placement do to the detector, without anybody wishing it harm."""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

from assay.metrics.corruption import MEAN
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit, ThreatBudget
from assay.store.figures import Figure

ORDER = 58
SOURCES = ("metrics.parquet",)

SEVERITY = 3.0
"""At which the error rates are shown: the middle one, if it was measured."""

TEMPLATE = """
{% if not lines %}
<p>The audit did not corrupt any images: what noise, blur, weather or a shifted thing do to the scores is not known.</p>
{% else %}
<p>Images that were corrupted, not attacked; severity 1 is the mildest. The AUROC is {{ clean | estimate }} on clean
images. The darker a field, the more of it is lost. {{ hardest | words | capitalize }} hurts most:
averaged over the severities it costs {{ loss | number }} AUROC.</p>
{% call table("AUROC under corruption") %}
<thead><tr><th>Corruption</th>
{% for severity in severities %}<th>Severity {{ "%g" | format(severity) }}</th>{% endfor %}
</tr></thead>
<tbody>
{% for line in lines %}
<tr{% if line.name == mean %} class="group"{% endif %}>
<th class="name">{{ "Mean of all" if line.name == mean else line.name | words }}</th>
{% for auroc, shade in line.fields %}
<td class="shade" style="background: {{ shade }}">{{ auroc | estimate }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endcall %}
<h3>Decisions at severity {{ "%g" | format(shown) }}</h3>
{% call table("Rates under corruption") %}
<thead><tr><th>Corruption</th><th>False-alarm rate</th><th>Miss rate</th></tr></thead>
<tbody>
<tr><th>None (clean)</th><td>{{ audit.clean("false_alarm_rate") | estimate }}</td>
<td>{{ audit.clean("miss_rate") | estimate }}</td></tr>
{% for line in lines %}
<tr{% if line.name == mean %} class="group"{% endif %}>
<th class="name">{{ "Mean of all" if line.name == mean else line.name | words }}</th>
<td>{{ line.alarms | estimate }}</td><td>{{ line.misses | estimate }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">Rates are at the deployed threshold; brackets are {{ (audit.confidence * 100) | round | int }}%
intervals. The mean of all counts every corruption alike; its interval is of the sample, not of the choice of
corruptions.</p>
{% endif %}
"""


class Line(NamedTuple):
    """A corruption: its AUROC and shade at each severity, and its error rates at the severity that is shown."""

    name: str
    fields: list[tuple[Figure | None, str]]
    alarms: Figure | None
    misses: Figure | None


def corruptions(audit: Audit) -> Section:
    """A heat table of AUROC by corruption and severity, worst first, the mean last, with error rates at severity 3."""
    corrupted = audit.metrics["norm"] == "corruption"
    severities = sorted(set(audit.metrics["epsilon"][corrupted].tolist()))
    clean = audit.clean("auroc")
    kinds = sorted(set(audit.metrics["attack"][corrupted]) - {MEAN})
    if not (kinds and clean):
        return section("Corruptions", TEMPLATE, lines=[])
    aurocs = {kind: [_figure(audit, "auroc", kind, severity) for severity in severities] for kind in (*kinds, MEAN)}
    losses = {kind: clean.value - fmean(one.value for one in aurocs[kind] if one) for kind in kinds}
    order = sorted(kinds, key=lambda kind: (-losses[kind], kind))
    shown = min(severities, key=lambda severity: abs(severity - SEVERITY))
    lines = [
        Line(
            kind,
            [(auroc, _shade(auroc, clean)) for auroc in aurocs[kind]],
            _figure(audit, "false_alarm_rate", kind, shown),
            _figure(audit, "miss_rate", kind, shown),
        )
        for kind in (*order, MEAN)
    ]
    return section(
        "Corruptions", TEMPLATE,
        audit=audit, lines=lines, clean=clean, hardest=order[0], loss=losses[order[0]],
        severities=severities, shown=shown, mean=MEAN,
    )  # fmt: skip


def _figure(audit: Audit, metric: str, kind: str, severity: float) -> Figure | None:
    return audit.attacked(metric, ThreatBudget("corruption", severity), "natural", kind)


def _shade(auroc: Figure | None, clean: Figure) -> str:
    """White where nothing is lost, to a middle grey, on which black text is still legible, where 0.5 or more is."""
    lost = min(max(clean.value - auroc.value, 0.0) / 0.5, 1.0) if auroc else 0.0
    level = round(255 - 115 * lost)
    return f"#{level:02x}{level:02x}{level:02x}"
