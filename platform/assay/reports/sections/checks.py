"""How the audit checked whether it can be trusted itself."""

from __future__ import annotations

from typing import NamedTuple

from assay.reports.sections._html import Section, section, short
from assay.store.audit_reader import Audit, count_of_checks, is_idle

ORDER = 60
SOURCES = ("checks.parquet",)

TEMPLATE = """
{% if checks %}
<p>{{ count.words }}. A required check that does not pass makes the audit INVALID.</p>
{% call table("Checks of the audit") %}
<thead><tr><th>Outcome</th><th>Check</th><th>Evidence</th><th>Value and limit</th>
<th class="right">Samples</th></tr></thead>
<tbody>
{% for check in checks %}
<tr>
{% if check.idle %}<td class="mark undecided">not applicable</td>
{% elif check.passed %}<td class="mark pass"><span aria-hidden="true">✓</span> passed</td>
{% elif check.passed is none %}<td class="mark undecided"><span aria-hidden="true">–</span> not run</td>
{% else %}<td class="mark fail"><span aria-hidden="true">✕</span> failed</td>{% endif %}
<th class="name">{{ check.check.replace("_", " ") }}{% if not check.required %} <span class="note">(not required)</span>
{%- endif %}</th>
<td class="wide">{{ check.evidence | signs }}</td>
<td>{{ check.against }}</td>
<td class="right">{{ check.samples | number }}</td>
</tr>
{% endfor %}
</tbody>
{% endcall %}
{% else %}
<p>The audit made no checks of itself: nothing below or above has been shown to be trustworthy.</p>
{% endif %}
"""


class Row(NamedTuple):
    """A check as the table shows it; passed: None where it was not run. idle: whether it had nothing to look at."""

    check: str
    passed: bool | None
    required: bool
    evidence: str
    samples: int | None
    idle: bool
    against: str


def checks(audit: Audit) -> Section:
    """Each check, whether it passed, whether it is required, and its evidence.

    Those that did not pass come first, those that had nothing to look at last.
    """
    columns = (audit.checks[name].tolist() for name in (*Row._fields[:5], "value", "limit"))
    rows = [_row(*values) for values in zip(*columns, strict=True)]
    rows.sort(key=lambda row: (row.idle, bool(row.passed), not row.required))
    count = count_of_checks((row.passed, row.evidence) for row in rows)
    return section("Checks of the audit itself", TEMPLATE, checks=rows, count=count)


def _row(
    check: str,
    passed: bool | None,
    required: bool,
    evidence: str,
    samples: int | None,
    value: float,
    limit: float,
) -> Row:
    idle = is_idle(evidence)
    against = "–" if idle or passed is None else _against(value, limit)
    return Row(check, passed, required, evidence, samples, idle, against)


def _against(value: float, limit: float) -> str:
    """`0.012 < 0.02`: the outcome beside it tells which side of the limit is the good one."""
    sign = "<" if value < limit else ">" if value > limit else "="
    return f"{short(value)} {sign} {short(limit)}"
