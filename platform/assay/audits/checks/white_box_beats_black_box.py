"""An attacker with gradients moves a sample at least as far as one with scores only; if not, gradients are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.attacks.square import square
from assay.audits.checks._compare import pairs, reached
from assay.audits.checks._context import FEW, NO_GRADIENT, Context, attackable, called, chosen, listed
from assay.audits.checks._result import CheckResult, not_applicable, result

if TYPE_CHECKING:
    from assay.contracts import ThreatModel

ORDER = 101
SEEN = 0.1  # share of samples where a black-box attack may go further
QUERIES = 5  # of the check's own attack, for each step of the unbounded one


def white_box_beats_black_box(context: Context) -> CheckResult:
    """An attacker with gradients moves a sample at least as far as one with scores only (Carlini et al.).

    Compares with the suite's score-based, label-based and transfer attacks; where none of them made enough queries at
    the headline, also with a Square attack of its own. A search without gradients that gets further is the strongest
    sign that gradients are masked.
    """
    if not context.facts.differentiable:
        return not_applicable("white_box_beats_black_box", NO_GRADIENT)
    found = pairs(context, context.known_as("white-box"), context.known_as("score", "label", "transfer"))
    beaten = found.weaker > found.stronger + context.same
    cases = [("black-box attacks of the suite", found.samples, beaten)] if found.samples else []
    threat, queries = context.budget, QUERIES * context.suite.unbounded.steps
    if threat and _queries(context, threat) < queries:
        cases.append(_own_attack(context, threat, queries))
    phrases, worst = [], 0.0
    for name, attacked, further in cases:
        lost = sorted({sample for sample, worse in zip(attacked, further, strict=True) if worse})
        phrases.append(
            f"{name} go further than the white-box attacks on {further.mean():.1%} of {len(further)}{listed(lost)}"
        )
        worst = max(worst, float(further.mean()))
    evidence = f"{'; '.join(phrases)}; allowed {SEEN:.0%}"
    return result(
        "white_box_beats_black_box", worst <= SEEN, evidence, worst, SEEN, sum(len(case[1]) for case in cases)
    )


def _queries(context: Context, threat: ThreatModel) -> int:
    """How often the suite's score-based attacks asked for the score of a sample, at most, at that budget."""
    scores = context.scores
    rows = context.known_as("score") & (scores["norm"] == threat.norm) & (scores["epsilon"] == threat.epsilon)
    return int(scores["forwards"][rows].max()) if rows.any() else 0


def _own_attack(context: Context, threat: ThreatModel, queries: int) -> tuple[str, list[str], Any]:
    """(its name, the samples, where it went further than the suite's white-box attacks)."""
    images, direction, random = attackable(context, FEW)
    blind = square(context.detector, images, direction, threat, random, queries=queries)
    seeing = reached(context, threat, context.known_as("white-box"), FEW)
    further = (direction * blind.scores).double().cpu().numpy() > seeing + context.same
    samples = [context.images.ids[at] for at in chosen(context, FEW)]
    return f"{queries} queries of Square at {called(threat)}", samples, further
