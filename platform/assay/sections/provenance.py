"""Where every figure comes from, how to make it again, and what was not tested."""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

from assay.audit_folder import Audit
from assay.sections._html import NORMS, Section, norm, section
from assay.units import in_255

ORDER = 110

ATTACKERS = {
    "white-box": "the weights of the detector",
    "score": "only the detector's scores",
    "label": "only the detector's decisions",
    "transfer": "only another detector, and transfer what fools it",
}

TEMPLATE = """
<h3>Make this audit again</h3>
<pre>{{ info.command }}</pre>
<h3>What was not tested</h3>
<ul>
{% for limit in limits %}
<li>{{ limit }}</li>
{% endfor %}
</ul>
{% if remarks %}
<h3>What was noticed</h3>
<ul>
{% for remark in remarks %}
<li>{{ remark }}</li>
{% endfor %}
</ul>
{% endif %}
<h3>Model</h3>
<dl>
<dt>Content hash</dt><dd><code>{{ info.model }}</code></dd>
<dt>Weights (SHA-256)</dt><dd><code>{{ manifest.weights_sha256 }}</code></dd>
{% if manifest.kind %}
<dt>Detector from elsewhere</dt><dd>{{ manifest.detector }} ({{ manifest.kind }}); highest scores are
{{ manifest.higher_is }}{% if manifest.code_sha256 %}; code <code>{{ manifest.code_sha256 }}</code>{% endif %}</dd>
{% else %}
<dt>Trainable, seed</dt><dd>{{ manifest.trainable }}, seed {{ manifest.seed }}</dd>
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
{{ info.threshold.false_alarm_rate | number }}</dd>
</dl>
<p class="note">Parameters of the trainable:</p>
<pre>{{ parameters }}</pre>
<h3>Data</h3>
<dl>
<dt>Dataset</dt><dd>{{ info.dataset.name }}, {{ info.dataset.image_size }} × {{ info.dataset.image_size }} pixels,
{{ info.dataset.channels }} channel{{ "s" if info.dataset.channels != 1 }}</dd>
<dt>Content hash</dt><dd><code>{{ info.dataset.hash }}</code></dd>
<dt>Images</dt><dd>{{ counts }}</dd>
<dt>Audited</dt>
<dd>{{ info.samples.normals | number }} normal and {{ info.samples.anomalies | number }} anomalous test images</dd>
<dt>Validation anomalies</dt><dd>{{ info.dataset.validation_anomalies }}</dd>
<dt>Licence</dt><dd>{{ info.dataset.licence }}</dd>
{% for key, note in (info.dataset.notes or {}).items() %}
<dt>{{ key | words }}</dt><dd>{{ note }}</dd>
{% endfor %}
</dl>
<h3>Code and machine</h3>
<dl>
<dt>Audit seed</dt><dd>{{ info.seed }}</dd>
<dt>Code hash</dt><dd><code>{{ info.environment.code_hash }}</code></dd>
<dt>Commit</dt><dd><code>{{ info.environment.git }}</code></dd>
<dt>Assay, Python, platform</dt>
<dd>{{ info.environment.assay }}, {{ info.environment.python }}, {{ info.environment.platform }}</dd>
<dt>Versions, audit</dt><dd>{{ (info.environment.versions or {}) | parameters }}</dd>
<dt>Versions, training</dt><dd>{{ (manifest.environment.versions or {}) | parameters }}</dd>
</dl>
<h3>The records behind this report</h3>
{{ table("Records and their SHA-256") }}
<table>
<thead><tr><th>File</th><th>SHA-256</th></tr></thead>
<tbody>
{% for name, digest in records %}
<tr><th class="name">{{ name }}</th><td><code>{{ digest }}</code></td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="note">For the parts of an attack's scores: of all parts one after the other, in the order of their names.</p>
"""


def provenance(audit: Audit) -> Section:
    """Hashes, data, versions, seeds, the threshold's origin, the command, and the limits of the audit."""
    return section(
        "Provenance and limits",
        TEMPLATE,
        info=audit.info,
        manifest=audit.manifest,
        limits=_limits(audit),
        remarks=[*(finding["text"] for finding in audit.info.get("findings", [])), *audit.info.get("notes", [])],
        records=_records(audit),
        parameters=_plain(audit.manifest.get("parameters")),
        counts=_plain(audit.info["dataset"].get("counts"), flow=True),
    )


def _limits(audit: Audit) -> list[str]:
    largest = {budget.norm: budget.epsilon for budget in audit.budgets}
    known = {entry.get("knowledge") for entry in audit.attacks()}
    limits = [
        "Attacks outside the suite: with a stronger one, the model may prove less robust than any figure here.",
        "Larger changes than "
        + " and ".join(f"{norm(name)} {in_255(most, name)}" for name, most in largest.items())
        + ".",
    ]
    if missing := [norm(name) for name in NORMS if name not in largest]:
        limits.append(f"Changes measured in another way: {', '.join(missing)}.")
    limits += [f"Attack {one['attack']}: {one['why']}." for one in audit.info.get("left_out", [])]
    limits += [f"Attackers who have {what}." for knowledge, what in ATTACKERS.items() if knowledge not in known]
    if count := audit.info.get("limit"):
        limits.append(f"Most of the test split: only the first {count} images of each class were attacked.")
    return [
        *limits,
        *(
            []
            if audit.info["suite"].get("corruptions")
            else ["Dust, changes of light or camera, and other corruptions."]
        ),
        "Tampering with the training data.",
        f"Images other than the test split of {audit.info['dataset']['name']}.",
    ]


def _records(audit: Audit) -> list[tuple[str, str]]:
    names = [
        "audit.yaml",
        "manifest.json",
        "metrics.parquet",
        "checks.parquet",
        "worst.parquet",
        "worst_case.parquet",
        "cost.parquet",
        "minimal.parquet",
        "comparison.json",
        "trials.parquet",
        "verdict.json",
    ]
    groups = {name: [audit.folder / name] for name in names if (audit.folder / name).exists()}
    for kind in ("scores", "corrupted", "certified", "minimal"):
        for folder in sorted((audit.folder / kind).glob("*=*")):
            groups[f"{kind}/{folder.name}"] = sorted(folder.glob("part-*.parquet"))
    digests = []
    for name, files in groups.items():
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        digests.append((name, digest.hexdigest()))
    return digests


def _plain(value: Any, flow: bool = False) -> str:
    if value is None:
        return "not recorded"
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=flow or None, width=10_000)
    return text.strip().strip("{}" if flow else "")
