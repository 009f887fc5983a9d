"""Every attack is made under a threat model that says who could mount it and why."""

from __future__ import annotations

from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, result

ORDER = 250


def threat_models_stated(context: Context) -> CheckResult:
    """Every attack is made under a threat model that says who could mount it and why (Carlini et al., sec. 1)."""
    threats = context.suite.threats
    silent = [entry.name for entry in context.suite.attacks if not threats[entry.threat].why.strip()]
    count = len(context.suite.attacks)
    evidence = (
        f"{count - len(silent)} of {count} attacks are made under a threat model with a stated reason{listed(silent)}; "
        f"there are {len(threats)}: {', '.join(threats)}"
    )
    return result("threat_models_stated", not silent, evidence, len(silent), 0, len(context.images), required=False)
