"""What exactly was audited: model, threshold, data, code, machine, and every seed."""

from __future__ import annotations

import yaml

from assay.reports.sections._html import NOT_RECORDED, Section, section
from assay.store.audit_reader import Audit

ORDER = 20
SOURCES = ("audit.yaml", "manifest.json")

TEMPLATE = """
<h3>Model</h3>
<dl>
<dt>Content hash</dt><dd><code>{{ info.model }}</code></dd>
<dt>Weights (SHA-256)</dt><dd><code>{{ manifest.weights_sha256 }}</code></dd>
<dt>Neighbour bank (SHA-256)</dt>
<dd>{% if manifest.bank_sha256 %}<code>{{ manifest.bank_sha256 }}</code>
{% else %}no hash of its own; stored normals, where a detector keeps any, are part of its weights and of their hash
{% endif %}</dd>
{% if manifest.kind %}
<dt>Detector from elsewhere</dt><dd>{{ manifest.detector }} ({{ manifest.kind }}); highest scores are
{{ manifest.higher_is }}{% if manifest.code_sha256 %}; code <code>{{ manifest.code_sha256 }}</code>{% endif %}</dd>
{% else %}
<dt>Trainable, seed</dt><dd>{{ manifest.trainable }}, seed {{ manifest.seed }}</dd>
{% endif %}
{% if manifest.documentation %}
<dt>How it works</dt><dd>{{ manifest.documentation }}</dd>
{% endif %}
<dt>Attacked as</dt><dd>{{ info.attacked_as }}</dd>
{% if info.surrogate %}
<dt>Transfer from model</dt><dd><code>{{ info.surrogate }}</code></dd>
{% endif %}
<dt>Sweep</dt>
{% if manifest.sweep %}
<dd>{{ manifest.sweep.name }}, trial {{ manifest.sweep.trial }}, epoch {{ manifest.sweep.epoch }}</dd>
{% else %}
<dd>none</dd>
{% endif %}
<dt>Threshold</dt>
<dd>{{ info.threshold.value | number }}, from {{ info.threshold.source }}
({{ info.threshold.count | number }} samples) for a false-alarm rate of
{{ info.threshold.false_alarm_rate | number }}; frozen before any test image was seen</dd>
</dl>
<h3>Data</h3>
<dl>
<dt>Dataset</dt><dd>{{ info.dataset.name }}, {{ info.dataset.image_size | sides }} pixels,
{{ info.dataset.channels }} channel{{ "s" if info.dataset.channels != 1 }}</dd>
<dt>Content hash</dt><dd><code>{{ info.dataset.hash }}</code></dd>
<dt>Images</dt><dd>{{ counts }}</dd>
<dt>Audited</dt>
<dd>{{ info.samples.normals | number }} normal and {{ info.samples.anomalies | number }} anomalous test images
{{- " in %d and %d groups" | format(info.groups.normals, info.groups.anomalies) if info.groups }}</dd>
<dt>Validation anomalies</dt><dd>{{ info.dataset.validation_anomalies }}</dd>
<dt>Licence</dt><dd>{{ info.dataset.licence }}</dd>
{% for key, note in (info.dataset.notes or {}).items() %}
<dt>{{ key | words }}</dt><dd>{{ note }}</dd>
{% endfor %}
</dl>
<h3>Code and machine</h3>
<dl>
{% for word, made_by in made_by.items() %}
<dt>Commit, {{ word }}</dt><dd><code>{{ made_by.git }}</code></dd>
<dt>Code hash, {{ word }}</dt><dd><code>{{ made_by.code_hash }}</code></dd>
<dt>Assay, Python, platform, {{ word }}</dt>
<dd>{{ made_by.assay }}, {{ made_by.python }}, {{ made_by.platform }}</dd>
<dt>Hardware, {{ word }}</dt><dd>{{ plain(made_by.hardware) }}</dd>
<dt>Versions, {{ word }}</dt><dd>{{ (made_by.versions or {}) | parameters }}</dd>
{% endfor %}
{% if made_by | length == 1 %}
<dt>Training</dt><dd>by the same code, on the same platform, with the same versions</dd>
{% endif %}
<dt>Seeds</dt><dd>audit {{ info.seed }}, training {{ manifest.seed }},
data split {{ (info.dataset.item or {}).split_seed }}</dd>
</dl>
<h3>Parameters of the training</h3>
<pre>{{ parameters }}</pre>
"""


def identity(audit: Audit) -> Section:
    """Hashes, threshold and how it was set, data, code, versions, hardware, seeds and parameters."""
    info, manifest = audit.info, audit.manifest
    made_by = {word: side.get("environment") or {} for word, side in (("audit", info), ("training", manifest))}
    if made_by["audit"] == made_by["training"]:
        del made_by["training"]
    return section(
        "Identity",
        TEMPLATE,
        info=info,
        manifest=manifest,
        made_by=made_by,
        counts=plain(info["dataset"].get("counts")),
        parameters=plain(manifest.get("parameters"), lines=True),
        plain=plain,
    )


def plain(value: object, lines: bool = False) -> str:
    """A value of a YAML file as a person reads it: in one line, or a line for each key."""
    if not value:
        return NOT_RECORDED
    if isinstance(value, str):
        return value
    text: str = yaml.safe_dump(
        value, sort_keys=False, allow_unicode=True, default_flow_style=None if lines else True, width=10_000
    )
    return text.strip() if lines else text.strip()[1:-1]
