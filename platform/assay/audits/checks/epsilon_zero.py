"""Every attack of the suite at epsilon 0 returns the clean scores exactly (Carlini et al., sanity checks)."""

from __future__ import annotations

from assay.audits.checks._context import Context, attackable, shortened
from assay.audits.checks._result import CheckResult, result
from assay.contracts import ThreatModel
from assay.models.scoring import score

ORDER = 30
LONG = True
STEPS = 4  # at epsilon 0 more steps show nothing new; a suite of short checks makes fewer
OF_EACH = 2


def epsilon_zero(context: Context) -> CheckResult:
    """Every attack of the suite at epsilon 0 returns the clean scores exactly (Carlini et al., sanity checks)."""
    images, direction, random = attackable(context, OF_EACH)
    clean, allowed = score(context.detector, images), context.same if context.facts.stochastic else 0.0
    most = min(STEPS, max(1, context.suite.unbounded.steps // 4))
    entries = [entry for entry in context.suite.attacks if entry.needs != "surrogate"]
    different: dict[str, int] = {}
    for entry in entries:
        threat, arguments = ThreatModel(entry.norm, 0.0, context.threshold), shortened(entry.attack.arguments(), most)
        attacked = entry.attack.function(context.detector, images, direction, threat, random, **arguments)
        if wrong := int(((score(context.detector, attacked.images) - clean).abs() > allowed).sum()):
            different[entry.name] = wrong
    total = sum(different.values())
    whose = f" ({', '.join(f'{name}: {count}' for name, count in different.items())})" if different else ""
    evidence = f"{len(entries)} attacks at epsilon 0 change {total} of {len(images)} scores each{whose}"
    return result("epsilon_zero", total == 0, evidence, total, 0, len(images))
