"""What the detector is for, what it is not for, and how much depends on it, as its owner stated it."""

from __future__ import annotations

from assay.reports.sections._html import Section, section
from assay.store.audit_reader import Audit

ORDER = 30
SOURCES = ("audit.yaml", "manifest.json")

STATEMENTS = {
    "intended_use": "Intended use",
    "out_of_scope_use": "Out-of-scope use",
    "materiality": "Materiality tier",
}

TEMPLATE = """
<dl>
{% for heading, lines in stated.items() %}
<dt>{{ heading }}</dt>
<dd>{% for line in lines %}{{ line }}{% if not loop.last %}<br>{% endif %}{% else %}
<strong>not stated</strong>{% endfor %}</dd>
{% endfor %}
<dt>Owner's notes</dt><dd>{{ notes or "none" }}</dd>
<dt>Licence of the data</dt><dd>{{ info.dataset.licence }}</dd>
<dt>Audited for</dt><dd>images like the test split of {{ info.dataset.name }}, {{ info.dataset.image_size | sides }}
pixels, {{ info.dataset.channels }} channel{{ "s" if info.dataset.channels != 1 }}</dd>
</dl>
{% if silent %}
<p>{{ silent | join(", ") | capitalize }}: the model's files do not say. No figure of this report can say it either;
whoever approves the model must ask its owner, and approve it for that use alone.</p>
{% endif %}
"""


def intended_use(audit: Audit) -> Section:
    """Intended use, out-of-scope use and materiality tier from audit.yaml or the manifest, or that none is stated."""
    stated = {heading: _lines(audit, key) for key, heading in STATEMENTS.items()}
    return section(
        "Intended use",
        TEMPLATE,
        info=audit.info,
        stated=stated,
        notes=audit.manifest.get("notes"),
        silent=[heading.lower() for heading, lines in stated.items() if not lines],
    )


def _lines(audit: Audit, key: str) -> list[str]:
    value: object = audit.info.get(key) or audit.manifest.get(key) or []
    return [str(line) for line in value] if isinstance(value, list) else [str(value)]
