"""A score known to be random was attacked in expectation, over enough draws."""

from __future__ import annotations

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 160
ABOUT = "strength"
DRAWS = 20


def averaged_over_draws(context: Context) -> CheckResult:
    """A score known to be random was attacked in expectation over 20 draws or more (Carlini et al., sec. on EOT)."""
    if not context.facts.stochastic:
        return not_applicable("averaged_over_draws", "the score is not random")
    made = set(context.scores["attack"])
    draws = {
        entry.name: int(entry.attack.arguments().get("draws", 1))
        for entry in context.suite.attacks
        if entry.needs == "randomness" and entry.name in made
    }
    most = max(draws.values(), default=0)
    named = ", ".join(f"{name} over {count} draws" for name, count in draws.items()) or "none"
    evidence = f"the score is random; attacks on its expectation: {named}; {DRAWS} draws are needed"
    return result("averaged_over_draws", most >= DRAWS, evidence, most, DRAWS, len(context.images))
