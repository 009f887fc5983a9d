"""What the attacker wants, knows and may change, stated before any result."""

from __future__ import annotations

from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit

ORDER = 40
SOURCES = ("audit.yaml",)

MEANS = {
    "linf": ": every pixel value by at most that much; 1/255 is one grey level of an 8-bit image",
    "l2": ": the root of the summed squares over the whole image, in pixel values from 0 to 1",
    "l1": ": the sum over the whole image, in pixel values from 0 to 1",
    "patch": ": share of the image's area that one square may cover",
    "spatial": ": share of the largest rotation and shift that the attack names",
}

TEMPLATE = """
<p>Suite <strong>{{ suite.name }}</strong>, version {{ suite.version }}: {{ suite.why }}</p>
<h3>What the attacker may change</h3>
<ul>
{% for norm in audit.norms %}
<li>{{ norm | norm }} up to
{% for budget in audit.budgets_of(norm) %}{{ budget.epsilon | in_255(norm) }}{{ ", " if not loop.last }}{% endfor %}
{{- meaning.get(norm, "") }}.</li>
{% endfor %}
</ul>
{% if suite.threats %}
<h3>Why an attacker could, and would</h3>
<ul>
{% for name, threat in suite.threats.items() %}
<li><strong>{{ name | replace("-", " ") }}</strong> ({{ threat.norm | norm }}): {{ threat.why }}.</li>
{% endfor %}
</ul>
{% endif %}
<h3>What the attacker wants</h3>
<ul>
<li><strong>Evasion</strong>: hide anomalies by lowering their scores. Normals stay clean.</li>
<li><strong>False alarm</strong>: stop production by raising the scores of normals. Anomalies stay clean.</li>
<li><strong>Both</strong>: at once; the worst case for the AUROC.</li>
</ul>
<h3>Attacks</h3>
{% call table("Attacks of the suite") %}
<thead><tr><th>Name</th><th>Attack</th><th>Norm</th><th>Budgets</th><th>Knowledge</th>
<th>Parameters</th></tr></thead>
<tbody>
{% for entry in audit.attacks() %}
<tr><th class="name">{{ entry.name }}</th><td>{{ entry.attack }}</td><td>{{ entry.norm | norm }}</td>
<td>
{%- for epsilon in entry.epsilons %}{{ epsilon | in_255(entry.norm) }}{{ ", " if not loop.last }}{% endfor %}</td>
<td class="nowrap">{{ entry.knowledge }}</td>
<td class="wide">{{ (entry.parameters or {}) | parameters }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% if audit.info.left_out %}
<p>Not made on this detector:</p>
<ul>
{% for one in audit.info.left_out %}
<li>{{ one.attack }}: {{ one.why }}.</li>
{% endfor %}
</ul>
{% endif %}
<p class="note">White-box: the attacker has the weights and gradients of the deployed detector. Score: only its answers.
Label: only its decision. Transfer: only another detector. None: noise that takes no aim.</p>
"""


def threat_models(audit: Audit) -> Section:
    """Norms, budgets, regimes and the suite's attacks with their parameters and the knowledge they use."""
    return section("Threat models", TEMPLATE, audit=audit, suite=audit.info["suite"], meaning=MEANS)
