"""The attack that the model was trained or chosen with is not the only white-box attack of the audit."""

from __future__ import annotations

from collections.abc import Mapping

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result

ORDER = 140
ABOUT = "strength"
TRAINER = "pgd"  # the method of an `adversary` parameter that names none


def not_the_training_attack_alone(context: Context) -> CheckResult:
    """The attack that the model was trained or chosen with is not the only one (Carlini et al., sec. on attacks)."""
    if not context.facts.differentiable:
        return not_applicable("not_the_training_attack_alone", "the audit has no white-box attack")
    adversary = context.manifest.get("parameters", {}).get("adversary")
    known = {str(context.manifest.get("evaluation", {}).get("attack", TRAINER))}
    if isinstance(adversary, Mapping) and adversary.get("epsilon"):
        known.add(str(adversary.get("method", TRAINER)))
    others = sorted({entry.attack.name for entry in context.suite.white_box()} - known)
    evidence = (
        f"the model was trained or chosen with {' and '.join(sorted(known))}; the audit's other white-box attacks: "
        f"{', '.join(others) or 'none'}"
    )
    return result(
        "not_the_training_attack_alone", bool(others), evidence, len(others), 1, len(context.images), required=False
    )
