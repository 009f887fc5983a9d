"""Every attack of the audit says with which parameters and seed it was made, and what it cost."""

from __future__ import annotations

from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, result

ORDER = 230


def attacks_described(context: Context) -> CheckResult:
    """Every attack says with which parameters and seed it was made, and its cost (Carlini et al., on describing)."""
    scores = context.scores
    silent = []
    for entry in context.suite.attacks:
        made = scores["attack"] == entry.name
        described = made & (scores["parameters"] != "") & (scores["seed"] >= 0) & (scores["forwards"] > 0)
        if not made.any() or not described[made].all():
            silent.append(entry.name)
    count, passes = len(context.suite.attacks), int(scores["forwards"].sum() + scores["backwards"].sum())
    evidence = (
        f"{count - len(silent)} of {count} attacks state their parameters, seed and cost{listed(silent)}; together "
        f"they spent {passes:,} passes"
    )
    return result("attacks_described", not silent, evidence, len(silent), 0, len(scores["sample"]), required=False)
