"""The decision, first of all: the verdict, and each gate with the bound that decided it."""

from __future__ import annotations

from assay.audit_folder import Audit
from assay.sections._html import Section, section

ORDER = 10

MEANING = {
    "PASS": "Every gate holds at the bound that decides it, and every check that the policy requires passed.",
    "FAIL": "At least one gate does not hold. The model may not be deployed under this policy.",
    "INVALID": "The audit did not pass the checks that the policy requires. Its figures must not be relied on.",
    "INCONCLUSIVE": "No gate fails, but at least one cannot be decided on the evidence of this audit.",
}
MARKS = {"PASS": "✓", "FAIL": "✕", "INVALID": "!", "INCONCLUSIVE": "?", "NOT RUN": "–"}

TEMPLATE = """
{% if verdict is none %}
<div class="verdict undecided">
<p class="word">Not decided yet</p>
<p>No policy has been applied to this audit. To decide:</p>
<pre>assay approve {{ folder }} --policy default</pre>
{% if failed %}
<p>Required checks that did not pass: {{ failed | join(", ") }}. A policy that requires them can only say INVALID.</p>
{% endif %}
</div>
{% else %}
<div class="verdict {{ verdict.verdict | lower }}">
<p class="word"><span aria-hidden="true">{{ marks[verdict.verdict] }}</span> {{ verdict.verdict }}</p>
<p>{{ meaning }}</p>
<p class="note">Policy {{ verdict.policy.name }}, version {{ verdict.policy.version }}
(<code>{{ verdict.policy.hash }}</code>), applied <span class="nowrap">{{ verdict.created | moment }}</span>.
Required checks:
{% for outcome in ("passed", "failed", "missing") %}
{{ verdict.checks[outcome] | length }} {{ outcome }}
{{- " (" ~ (verdict.checks[outcome] | join(", ")) ~ ")" if outcome != "passed" and verdict.checks[outcome] -}}
{{ "." if loop.last else ";" }}
{% endfor %}
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
<h3>Gates</h3>
{% if verdict.gates %}
{{ table("Gates of the policy") }}
<table>
<thead><tr><th>Decision</th><th>Gate</th><th>Figure [interval]</th><th>Limit</th><th>Why</th></tr></thead>
<tbody>
{% for gate in verdict.gates %}
<tr>
<td class="mark {{ (gate.decision | lower).split(" ") | first }}">
<span aria-hidden="true">{{ marks[gate.decision] | default("") }}</span> {{ gate.decision }}</td>
<td class="gate"><strong>{{ gate.name }}</strong>
{% if gate.text != gate.name %}<br>{{ gate.text }}{% endif %}
{% if gate.purpose %}<br><span class="note">{{ gate.purpose }}</span>{% endif %}
</td>
<td>{{ gate | estimate }}</td>
<td class="nowrap">{{ gate.limit | number }}</td>
<td class="wide">{{ gate.why }}</td>
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% else %}
<p>The policy's gates were not evaluated.</p>
{% endif %}
{% endif %}
"""


def verdict(audit: Audit) -> Section:
    """The verdict, its reasons, and every gate: decision, figure with its interval, limit and why."""
    decided = audit.verdict
    checks = audit.checks
    failed = checks["check"][checks["required"].astype(bool) & ~checks["passed"].astype(bool)]

    return section(
        "Verdict",
        TEMPLATE,
        verdict=decided,
        meaning=MEANING[decided["verdict"]] if decided else "",
        marks=MARKS,
        failed=list(failed),
        folder=audit.info["audit"],
    )
