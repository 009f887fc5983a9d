"""A score made of nearest neighbours was attacked by a method made for neighbours."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 150
ABOUT = "strength"


def adaptive(context: Context) -> CheckResult:
    """A score made of nearest neighbours was attacked by a method made for neighbours (Tramer et al. 2020).

    The nearest neighbour changes along the way, so the score's gradient is less far-sighted than one of all of them.
    """
    if not context.facts.neighbours:
        return not_applicable("adaptive", "the score is not known to be made of nearest neighbours")
    made = set(context.scores["attack"])
    names = [entry.name for entry in context.suite.attacks if entry.needs == "neighbours" and entry.name in made]
    evidence = f"the score is made of nearest neighbours; attacks made for these: {', '.join(names) or 'none'}"
    return result("adaptive", bool(names), evidence, len(names), 1, len(context.images), required=False)
