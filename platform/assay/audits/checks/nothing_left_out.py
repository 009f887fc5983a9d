"""Every attack was made on every test sample once, at each of its epsilons."""

from __future__ import annotations

from collections import Counter

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result

ORDER = 41


def nothing_left_out(context: Context) -> CheckResult:
    """Every attack was made on every test sample once, at each of its epsilons."""
    scores = context.scores
    made = Counter(zip(scores["attack"], scores["epsilon"], scores["sample"], strict=True))
    budgets = [(entry.name, epsilon) for entry in context.suite.attacks for epsilon in entry.epsilons]
    wanted = Counter((*budget, sample) for budget in budgets for sample in context.images.ids)
    missing, surplus = (wanted - made).total(), (made - wanted).total()
    evidence = f"of {wanted.total()} attacks on a sample {missing} are missing and {surplus} are duplicates"
    return result("nothing_left_out", missing + surplus == 0, evidence, missing + surplus, 0, len(context.images))
