"""How well the detector does when nobody attacks it: ranking, decisions, and each kind of defect by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.reports.sections._html import Section, budget, section
from assay.store.audit_reader import Audit, ThreatBudget

ORDER = 50
SOURCES = ("metrics.parquet", "audit.yaml", "manifest.json")

METRICS = {
    "auroc": ("AUROC", "chance that an anomaly scores above a normal"),
    "average_precision": ("Average precision", "share of true anomalies among the highest scores, over all cut-offs"),
    "fpr95": ("False positives at 95 % detection", "normals above the threshold that would find 95 % of the anomalies"),
    "miss_rate": ("Miss rate", "anomalies below the deployed threshold"),
    "false_alarm_rate": ("False-alarm rate", "normals above the deployed threshold"),
}
OF_KIND = ("auroc", "average_precision", "miss_rate")

TEMPLATE = """
<p>{{ info.samples.normals | number }} normal and {{ info.samples.anomalies | number }} anomalous test images, none of
them seen in training or when the threshold {{ info.threshold.value | number }} was set. Brackets are
{{ (confidence * 100) | round | int }}% intervals.</p>
{% if info.groups %}
<p>The images are of groups, such as views of one part: {{ info.groups.normals | number }} groups hold normals and
{{ info.groups.anomalies | number }} anomalies. Images of a group are not independent, so every interval is over groups,
each of which counts as one sample.</p>
{% endif %}
{% call table("Clean performance") %}
<thead><tr><th>Metric</th><th>Figure</th><th>What it is</th></tr></thead>
<tbody>
{% for metric, (name, meaning) in metrics.items() %}
<tr><th>{{ name }}</th><td>{{ audit.clean(metric) | estimate }}</td><td class="wide">{{ meaning }}
{{- "; by chance %.3f, the share of anomalies here" | format(chance) if metric == "average_precision" and chance }}
</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% if audit.defects %}
<h3>By kind of defect</h3>
{% call table("Clean performance by kind of defect") %}
<caption>Each kind against all normals{{ " of its category" if audit.categories }}. An average precision depends on the
share of anomalies, so those of kinds of different size cannot be compared</caption>
<thead><tr><th>Kind</th><th class="right">Images</th>
{% for metric in of_kind %}<th>{{ metrics[metric][0] }}</th>{% endfor %}</tr></thead>
<tbody>
{% for kind in audit.defects %}
<tr><th class="name">{{ kind }}</th><td class="right">{{ audit.clean("auroc", kind).anomalies | number }}</td>
{% for metric in of_kind %}<td>{{ audit.clean(metric, kind) | estimate }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
{% else %}
<p>All anomalies are of one kind, so there are no figures by kind.</p>
{% endif %}
{% if audit.why_no_categories %}
<p>There are {{ audit.why_no_categories }}.</p>
{% endif %}
{% if audit.categories %}
<h3>By category</h3>
{% call table("Clean performance by category") %}
<caption>Anomalies of each category against the normals of the same category; one model, one threshold</caption>
<thead><tr><th>Category</th><th class="right">Normals</th><th class="right">Anomalies</th>
{% for metric in of_kind %}<th>{{ metrics[metric][0] }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name in audit.categories + ["worst_category"] %}
<tr><th class="name">{{ "worst category" if name == "worst_category" else name }}</th>
<td class="right">{{ audit.clean("auroc", name).normals | number }}</td>
<td class="right">{{ audit.clean("auroc", name).anomalies | number }}</td>
{% for metric in of_kind %}<td>{{ audit.clean(metric, name) | estimate }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
<p class="note">Intervals: of ranking figures the wider of a stratified bootstrap and a closed form (Newcombe, Wilson,
Clopper-Pearson); of rates Clopper-Pearson
{{- "; the bootstrap draws groups, and the closed forms count them" if info.groups }}.</p>
{% if figures %}
<p>When the model was chosen, validation gave
{% for name, value in figures.items() %}{{ name | words }} {{ value | number }}{{ ", " if not loop.last }}{% endfor %}
{{- " (" ~ under ~ ")" if under }}; no interval was recorded. That was on other images and
under the sweep's own attack; a much lower robust figure in this report suggests that the attack which screened the
trials was too weak.</p>
{% endif %}
"""


def clean_performance(audit: Audit) -> Section:
    """Every clean figure with its interval, for all anomalies and for each kind; the figures on validation images."""
    return section(
        "Clean performance",
        TEMPLATE,
        audit=audit,
        info=audit.info,
        metrics=METRICS,
        chance=_share(audit),
        of_kind=OF_KIND,
        confidence=audit.confidence,
        figures={name: value for name, value in audit.manifest.get("figures", {}).items() if isinstance(value, float)},
        under=_under(audit.manifest.get("evaluation") or {}),
    )


def _share(audit: Audit) -> float | None:
    """The share of anomalies among the images of the clean figures, the average precision of a detector by chance."""
    figure = audit.clean("average_precision")
    return figure.anomalies / (figure.normals + figure.anomalies) if figure else None


def _under(evaluation: Mapping[str, Any]) -> str:
    """`pgd, 5 steps, L∞ 2/255`: the attack that screened the trials, as far as the manifest says."""
    parts = [str(evaluation["attack"])] if evaluation.get("attack") else []
    parts += [f"{evaluation['steps']} steps"] if evaluation.get("steps") else []
    if evaluation.get("norm") and evaluation.get("epsilon") is not None:
        parts.append(budget(ThreatBudget(evaluation["norm"], float(evaluation["epsilon"]))))
    return ", ".join(parts)
