"""Every attack raises normals and lowers anomalies on average; a white-box one moves both."""

from __future__ import annotations

from assay.audits.checks._context import Context, listed
from assay.audits.checks._result import CheckResult, result

ORDER = 51


def attack_direction(context: Context) -> CheckResult:
    """Every attack raises normals and lowers anomalies on average; a white-box one moves both."""
    scores, shift, allowed = context.scores, context.shift, context.same if context.facts.stochastic else 0.0
    wrong, means = [], []
    for entry in context.suite.attacks:
        for label, whose in ((0, "normals"), (1, "anomalies")):
            moved = shift[(scores["attack"] == entry.name) & (scores["label"] == label)]
            if not len(moved):
                continue
            mean = float(moved.mean())
            means.append(mean)
            if mean < -allowed or (mean <= 0 and entry.knowledge == "white-box"):
                wrong.append(f"{entry.name} {whose} by {mean:.3g}")
    lowest = min(means, default=0.0)
    evidence = (
        f"of {len(means)} mean shifts, one for each attack and class, {len(wrong)} are not in the attacker's direction"
        f"{listed(wrong)}; the smallest is {lowest:.3g}"
    )
    return result("attack_direction", not wrong, evidence, lowest, 0, len(scores["sample"]))
