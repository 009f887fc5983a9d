"""The suite holds attacks that need no gradient, and one that sees only decisions (Carlini et al., two sections)."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, result

ORDER = 130
ABOUT = "strength"
KINDS = {"score": "sees scores but no gradient", "label": "sees only decisions"}


def diverse_attacks(context: Context) -> CheckResult:
    """The suite holds an attack that needs no gradient and one that sees only decisions, as gradients can mislead."""
    made = set(context.scores["attack"])
    of_kind = {
        kind: [e.name for e in context.suite.attacks if e.knowledge == kind and e.name in made] for kind in KINDS
    }
    phrases = [f"{', '.join(of_kind[kind]) or 'no attack'} {words}" for kind, words in KINDS.items()]
    missing = sum(not names for names in of_kind.values())
    different = len({entry.attack.name for entry in context.suite.attacks if entry.name in made})
    evidence = f"of {different} different attacks {'; '.join(phrases)}"
    return result("diverse_attacks", missing == 0, evidence, missing, 0, len(context.images), required=False)
