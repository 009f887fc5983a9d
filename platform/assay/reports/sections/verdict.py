"""The decision, first of all: the verdict, each gate with the bound that decided it, and what was waived."""

from __future__ import annotations

from assay.approval import judgement
from assay.approval.gate import percent
from assay.approval.verdict import verdict_of
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit

ORDER = 10
SOURCES = ("verdict.json", "audit.yaml")

MEANING = {
    "PASS": "Every gate holds at the bound that decides it, and every check that the policy requires passed{}.",
    "PASS WITH WAIVERS": "Every gate and check holds{}: exceptions that a person granted by name, listed below.",
    "FAIL": "At least one gate does not hold. The model must not be deployed under this policy.",
    "INVALID": "The audit did not pass the checks that the policy requires. Its figures must not be relied on.",
    "INCONCLUSIVE": "No gate fails, but at least one cannot be decided on the evidence of this audit.",
}
MARKS = {
    "PASS": "✓",
    "PASS WITH WAIVERS": "~",
    "FAIL": "✕",
    "INVALID": "!",
    "INCONCLUSIVE": "?",
    "NOT RUN": "–",
    "WAIVED": "~",
}
COLOURS = {"WAIVED": "inconclusive", "NOT RUN": "undecided"}
"""Style-sheet class of a decision that has none named after it."""
CORRECTIONS = {
    "holm": "Holm's correction for several gates: at this confidence no gate with a claim is wrong",
    "bonferroni": "Bonferroni's correction for several gates: at this confidence no gate with a claim is wrong",
    "none": "not corrected for several gates: each by itself is decided at this confidence",
}

TEMPLATE = """
{% if verdict is none %}
<div class="verdict undecided">
<p class="word">Not decided yet</p>
<p>No policy has been applied to this audit. To decide:</p>
<pre>assay approve {{ folder }} --policy default</pre>
{% if failed %}
<p>Required checks that did not pass: {{ failed | join(", ") }}. A policy that requires them can only say INVALID.</p>
{% endif %}
{% for doubt in doubts %}
<p>{{ doubt }}</p>
{% endfor %}
</div>
{% else %}
<div class="verdict {{ classes[verdict.verdict] | default(verdict.verdict | lower) }}">
<p class="word"><span aria-hidden="true">{{ marks[verdict.verdict] }}</span> {{ verdict.verdict }}</p>
<p>{{ meaning }}</p>
<p class="note">Policy {{ verdict.policy.name }}, version {{ verdict.policy.version }}
(<code>{{ verdict.policy.hash }}</code>), applied <span class="nowrap">{{ verdict.created | moment }}</span>.
Required checks:
{% for outcome in outcomes %}
{{ verdict.checks[outcome] | length }} {{ outcome }}
{{- " (" ~ (verdict.checks[outcome] | join(", ")) ~ ")" if outcome != "passed" and verdict.checks[outcome] -}}
{{ "." if loop.last else ";" }}
{% endfor %}
{% if verdict.multiplicity %}
Confidence {{ percent(verdict.confidence) }}, {{ corrections[verdict.multiplicity] }}.
{% endif %}
</p>
</div>
{% if verdict.reasons %}
<h3>Reasons</h3>
<ul>
{% for reason in verdict.reasons %}
<li>{{ reason }}</li>
{% endfor %}
</ul>
{% endif %}
{% if verdict.waivers %}
<h3>Waivers</h3>
{% call table("Waivers of the policy") %}
<thead><tr><th>What is waived</th><th>Granted by</th><th>Until</th><th>Reason</th><th>Effect</th></tr></thead>
<tbody>
{% for waiver in verdict.waivers %}
<tr><td class="gate">{{ waiver.of }}</td><td>{{ waiver.granted_by }}</td><td class="nowrap">{{ waiver.expires }}</td>
<td class="wide">{{ waiver.reason }}</td>
<td>{{ waiver.state }}{{ ", does not count" if waiver.state == "expired" }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{% if verdict.history %}
<h3>What else was looked at</h3>
<p>{{ verdict.history.models }} model{{ "s were" if verdict.history.models != 1 else " was" }} audited on these test
images. No correction was made for that, nor for earlier verdicts: the more was tried, the more a PASS owes to chance.
</p>
{% if verdict.history.decisions %}
{% call table("Earlier verdicts on this model") %}
<thead><tr><th>Day</th><th>Verdict</th><th>Policy</th><th>Limits</th><th>Audit</th>
<th>Why it no longer stands</th></tr></thead>
<tbody>
{% for one in verdict.history.decisions %}
<tr><td class="nowrap">{{ one.date }}</td><td>{{ one.verdict }}</td><td>{{ one.policy }}</td>
<td class="wide">{{ one.limits | map("signs") | join("; ") or "–" }}</td><td>{{ one.audit }}</td>
<td class="wide">{{ one.answered or "–" }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% else %}
<p>This is the first verdict on the model.</p>
{% endif %}
{% if verdict.history.audits | length > 1 %}
<p>Audits of the model: {{ verdict.history.audits | join(", ") }}.</p>
{% endif %}
{% for entry, hash in verdict.history.register.items() %}
<p>The register ended with {{ entry }} (SHA-256 <code>{{ hash }}</code>).</p>
{% endfor %}
{% endif %}
<h3>Gates</h3>
{% if verdict.gates %}
{% call table("Gates of the policy") %}
<thead><tr><th>Decision</th><th>Gate</th><th>Figure [interval]</th><th>Confidence</th><th>Limit</th>
<th>Why</th></tr></thead>
<tbody>
{% for gate in verdict.gates %}
<tr>
<td class="mark {{ colours[gate.decision] | default(gate.decision | lower) }}">
<span aria-hidden="true">{{ marks[gate.decision] | default("") }}</span> {{ gate.decision }}</td>
<td class="gate"><strong>{{ gate.name }}</strong>
{% if gate.text != gate.name %}<br>{{ gate.text | signs }}{% endif %}
{% if gate.purpose %}<br><span class="note">{{ gate.purpose }}</span>{% endif %}
</td>
<td>{{ gate | estimate }}</td>
<td class="nowrap">{{ percent(gate.confidence) if gate.confidence else "" }}</td>
<td class="nowrap">{{ gate.limit | number }}</td>
<td class="wide">{{ gate.why }}{{ " No claim: not the bad end of the interval decides." if not gate.claim }}
{%- if gate.waiver %}<br>Waived by {{ gate.waiver.granted_by }} until {{ gate.waiver.expires }};
without the waiver: {{ gate.waiver.instead_of }}{% endif %}</td>
</tr>
{% endfor %}
</tbody>
{% endcall %}
{% else %}
<p>The policy's gates were not evaluated.</p>
{% endif %}
{% endif %}
"""


def verdict(audit: Audit) -> Section:
    """The verdict, its reasons, waivers, and every gate: decision, figure with its interval, confidence, limit, why."""
    decided = verdict_of(audit)
    checks = audit.checks
    failed = checks["check"][checks["required"].astype(bool) & ~checks["passed"].astype(bool)]
    waived = decided is not None and any(waiver.state == "used" for waiver in decided.waivers)
    return section(
        "Verdict",
        TEMPLATE,
        verdict=decided,
        meaning=MEANING[decided.verdict].format(", except what is waived" if waived else "") if decided else "",
        marks=MARKS,
        colours=COLOURS,
        classes={"PASS WITH WAIVERS": "pass"},
        corrections=CORRECTIONS,
        percent=percent,
        outcomes=["passed", "failed", "missing", *(["waived"] if decided and decided.waivers else [])],
        failed=list(failed),
        doubts=judgement.doubts(audit.info),
        folder=audit.info["audit"],
    )
