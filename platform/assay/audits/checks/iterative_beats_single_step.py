"""Many small steps move a sample at least as far as a single large one (Carlini et al., sanity checks)."""

from __future__ import annotations

from assay.attacks.fgsm import fgsm
from assay.audits.checks._compare import reached
from assay.audits.checks._context import NO_BALL, NO_GRADIENT, Context, attackable, called, chosen, listed
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.models.scoring import BATCH

ORDER = 90
SEEN = 0.05  # share of samples where the single step may go further
AHEAD = 0.05  # of its shift: on a nearly linear score one step is all it takes, and random starts cost a little


def iterative_beats_single_step(context: Context) -> CheckResult:
    """Many small steps move a sample at least as far as a single large one (Carlini et al., sanity checks)."""
    if not context.facts.differentiable or context.budget is None:
        return not_applicable("iterative_beats_single_step", NO_GRADIENT if context.budget else NO_BALL)
    threat, rows = context.budget, context.known_as("white-box")
    for entry in context.suite.attacks:
        if entry.attack.name == "fgsm":
            rows &= context.scores["attack"] != entry.name
    images, direction, random = attackable(context)
    single = fgsm(context.detector, images, direction, threat, random)
    places = chosen(context)
    clean = (1 - 2 * context.images.labels[places]) * context.clean[places]
    once = (direction * single.scores).double().cpu().numpy()
    further = once - AHEAD * (once - clean) > reached(context, threat, rows, BATCH // 2) + context.same
    names = [context.images.ids[at] for at in places[further]]
    share = float(further.mean())
    evidence = (
        f"at {called(threat)} one step goes clearly further than the suite's iterative attacks on {len(names)} of "
        f"{len(images)} samples{listed(names)}; allowed {SEEN:.0%}"
    )
    return result("iterative_beats_single_step", share <= SEEN, evidence, share, SEEN, len(images))
