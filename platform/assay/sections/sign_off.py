"""What is signed, and by whom."""

from __future__ import annotations

from assay.audit_folder import Audit
from assay.sections._html import Section, section

ORDER = 120

TEMPLATE = """
<p>By signing, I confirm that I have read this report on model <code>{{ info.model }}</code>,
audit <code>{{ info.audit }}</code>, verdict <strong>{{ word }}</strong>, with its limits
and the checks that did not pass.</p>
<div class="sign">
{{ table("Signatures") }}
<table>
<thead><tr><th>Role</th><th>Name</th><th>Date</th><th>Signature</th></tr></thead>
<tbody>
{% for role in ("Author of the model", "Independent reviewer", "Approver") %}
<tr><th>{{ role }}</th><td></td><td></td><td></td></tr>
{% endfor %}
</tbody>
</table>
</div>
</div>
"""


def sign_off(audit: Audit) -> Section:
    """Room for the author's, the independent reviewer's and the approver's signatures."""
    return section(
        "Sign-off", TEMPLATE, info=audit.info, word=audit.verdict["verdict"] if audit.verdict else "not decided yet"
    )
