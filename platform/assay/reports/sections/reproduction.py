"""How to make the audit again, and the files behind this report, each with its hash."""

from __future__ import annotations

import hashlib

from assay import shelves
from assay.reports.sections._html import Section, section
from assay.store.audit_reader import PARTS, Audit

ORDER = 110
SOURCES = ("audit.yaml",)

TEMPLATE = """
<p>The same command on the same code and data gives the same scores:</p>
<pre>{{ command }}</pre>
<p>This page is made of the files below and of nothing else, by <code>assay report {{ info.audit }}</code>. They lie in
the store under <code>audits/{{ info.audit }}/</code>. A file whose SHA-256 matches is the one that was read.</p>
{% call table("Files behind this report and their SHA-256") %}
<thead><tr><th>File</th><th class="right">Parts</th><th>SHA-256</th></tr></thead>
<tbody>
{% for record in records %}
<tr><th class="name">{{ record.name }}</th><td class="right">{{ record.parts }}</td>
<td class="wide"><code>{{ record.digest }}</code></td></tr>
{% endfor %}
</tbody>
{% endcall %}
<p class="note">Where a folder has parts, the hash is of all parts one after the other, in the order of their names.</p>
"""


def reproduction(audit: Audit) -> Section:
    """The command, where the records lie, and the hash of each."""
    sections = (shelves.load("sections", name) for name in shelves.names("sections"))
    sources = {source for function in sections for source in shelves.stated(function, "SOURCES", ())}
    tables = {name for name in sources if name.endswith("/")}
    groups = {name: [name] for name in sorted(audit.there(sources - tables))}
    for kind in sorted({*PARTS, *(name[:-1] for name in tables)}):
        for key in audit.parts(kind):
            groups.setdefault(key.rpartition("/")[0], []).append(key)
    records = []
    for name, keys in groups.items():
        digest = hashlib.sha256()
        for key in keys:
            digest.update(audit.folder.read(key))
        records.append({"name": name, "parts": len(keys), "digest": digest.hexdigest()})
    return section("Reproduction", TEMPLATE, info=audit.info, command=audit.command, records=records)
