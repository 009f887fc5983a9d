"""What is signed, and by whom."""

from __future__ import annotations

from assay.approval import review
from assay.approval.verdict import verdict_of
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit

ORDER = 120
SOURCES = ("verdict.json", "review.json")

TEMPLATE = """
<p>By signing, I confirm that I have read this report on model <code>{{ info.model }}</code>,
audit <code>{{ info.audit }}</code>, verdict <strong>{{ word }}</strong>, with its limits
and the checks that did not pass.</p>
<div class="sign">
{% call table("Signatures") %}
<thead><tr><th>Role</th><th>Name</th><th>Date</th><th>Signature</th></tr></thead>
<tbody>
<tr><th>Author of the model</th><td>{{ review.author or "" }}</td><td></td><td></td></tr>
{% if review.reviewer %}
<tr><th>{{ review.role | capitalize }}</th><td>{{ review.reviewer }}</td><td class="nowrap">{{ review.date }}</td>
<td>{% if review.key %}key <code>{{ review.key[:16] }}</code>{% endif %}</td></tr>
{% else %}
<tr><th>Independent reviewer</th><td></td><td></td><td></td></tr>
<tr><th>Approver</th><td></td><td></td><td></td></tr>
{% endif %}
</tbody>
{% endcall %}
</div>
{% if review.key %}
<p>This page and every other file of the audit and of the model were signed with the key
<code>{{ review.key }}</code>. The page cannot vouch for itself; whoever has the public key can check it:</p>
<pre>assay verify {{ info.audit }} --key PUBLIC.pem</pre>
{% if wanted > 1 %}
<p>The policy asks for the signatures of {{ wanted }} people. Who else has signed cannot be said here, as this page is
one of the files they sign: give <code>--key</code> for each of them.</p>
{% endif %}
{% else %}
<p>Nothing is signed by a key: whoever can change a file can change its hash on this page as well. To sign them all:</p>
<pre>assay approve {{ info.audit }} --policy POLICY --key KEY.pem --reviewer NAME --author NAME</pre>
{% endif %}
{% if review.expires %}<p>The decision counts until {{ review.expires }}, and no longer from that day on.</p>{% endif %}
"""


def sign_off(audit: Audit) -> Section:
    """Author, reviewer and the key that signs; room for signatures by hand where there is none."""
    verdict = verdict_of(audit)
    return section(
        "Sign-off",
        TEMPLATE,
        info=audit.info,
        wanted=verdict.policy.values.get("signatures", 1) if verdict else 1,
        word=verdict.verdict if verdict else "not decided yet",
        review=review.read(audit.folder) or {},
    )
